//! Plain HTTP requests on the same port. Every answer closes its connection.

use tickloom_protocol::handshake::{HttpRequest, Refusal, http_response};

/// The whole response to one request.
#[must_use]
pub fn respond(request: &HttpRequest) -> Vec<u8> {
    if !matches!(&*request.method, "GET" | "HEAD") {
        return Refusal::METHOD.response();
    }
    let mut response = match request.path() {
        "/healthz" => http_response(200, "Cache-Control: no-store\r\n", "ok\n"),
        "/ws" | "/echo" => Refusal::NEEDS_UPGRADE.response(),
        _ => Refusal::NOT_FOUND.response(),
    };
    if &*request.method == "HEAD" {
        let body = response.windows(4).position(|window| window == b"\r\n\r\n");
        response.truncate(body.map_or(response.len(), |position| position + 4));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_get_the_status_of_their_path_and_method() {
        for (method, target, status) in [
            ("GET", "/healthz", "200"),
            ("GET", "/healthz?verbose", "200"),
            ("HEAD", "/healthz", "200"),
            ("POST", "/healthz", "405"),
            ("GET", "/ws", "426"),
            ("GET", "/", "404"),
        ] {
            let request = HttpRequest { method: method.into(), target: target.into() };
            let response = String::from_utf8(respond(&request)).expect("ASCII");
            assert_eq!(response.split(' ').nth(1), Some(status), "{method} {target}");
            assert_eq!(method == "HEAD", response.ends_with("\r\n\r\n"), "{response}");
        }
    }
}
