#![no_main]

culvert_fuzz::target!(proxy_header);
