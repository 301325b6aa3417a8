#![no_main]

culvert_fuzz::target!(local_xds);
