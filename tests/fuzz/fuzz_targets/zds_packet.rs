#![no_main]

culvert_fuzz::target!(zds_packet);
