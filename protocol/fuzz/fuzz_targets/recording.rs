#![no_main]

tickloom_fuzz::fuzz!("recording");
