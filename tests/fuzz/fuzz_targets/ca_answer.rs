#![no_main]

culvert_fuzz::target!(ca_answer);
