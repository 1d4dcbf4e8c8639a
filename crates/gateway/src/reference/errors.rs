//! `docs/reference/errors.md`: every code with what it means and what to do.

use std::fmt::Write as _;

use super::{check, made_from};
use crate::problem::Code;

fn page() -> String {
    let mut text = made_from("the codes of errors");
    text.push_str(
        "# Error codes\n\n\
         Every error of the API is a problem document (RFC 9457, `application/problem+json`):\n\n\
         ```json\n\
         {\n  \"type\": \"/docs/errors/invalid_field\",\n  \"title\": \"Unprocessable Entity\",\n  \"status\": 422,\n  \
         \"code\": \"invalid_field\",\n  \"detail\": \"what was wrong, where, and what to do\",\n  \"field\": \"duration_seconds\"\n}\n\
         ```\n\n\
         Match on `code`: it is stable, and each has one status, one meaning and one remedy. `detail` is for people and may be\n\
         worded otherwise tomorrow. `field` is there where one part of the request is at fault. Jaeger's and Prometheus' APIs\n\
         answer errors in the form of theirs.\n\n\
         | code | status | meaning |\n|---|---|---|\n",
    );
    for code in Code::ALL {
        let (name, status) = (code.name(), code.status().as_u16());
        let _ = writeln!(text, "| [`{name}`](#{name}) | {status} | {} |", code.meaning());
    }
    for code in Code::ALL {
        let _ = write!(
            text,
            "\n## `{}`\n\n**{}**. {}\n\n{}\n",
            code.name(),
            code.status(),
            code.meaning(),
            code.remedy()
        );
    }
    text
}

#[test]
fn the_page_of_errors_is_what_the_code_says() {
    check("errors.md", &page());
}
