#![no_main]

tickloom_fuzz::fuzz!("client_message");
