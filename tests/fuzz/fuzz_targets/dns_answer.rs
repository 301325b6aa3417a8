#![no_main]

culvert_fuzz::target!(dns_answer);
