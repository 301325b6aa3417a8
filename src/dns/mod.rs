//! The DNS proxy of a pod: names of the mesh from the mesh, everything else from the servers that the pod would ask.
//!
//! Owns: what is answered and what is forwarded, and the cache. Never: which pods have one (`enroll`), a redirect.
