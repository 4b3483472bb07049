#![no_main]

tickloom_fuzz::fuzz!("server_message");
