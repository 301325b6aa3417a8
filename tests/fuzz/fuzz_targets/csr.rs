#![no_main]

culvert_fuzz::target!(csr);
