#![no_main]

culvert_fuzz::target!(pem_bundle);
