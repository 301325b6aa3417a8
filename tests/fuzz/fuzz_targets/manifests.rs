#![no_main]

culvert_fuzz::target!(manifests);
