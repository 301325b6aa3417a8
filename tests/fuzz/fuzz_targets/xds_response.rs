#![no_main]

culvert_fuzz::target!(xds_response);
