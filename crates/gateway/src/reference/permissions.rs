//! `docs/reference/permissions.md`: which role may what, and what asks for which permission.

use std::fmt::Write as _;

use domain::{Permission, Role};

use super::{check, made_from};
use crate::endpoint::{Access, Endpoint, Surface};
use crate::page;
use crate::routes;

fn page() -> String {
    let mut text = made_from("permissions, endpoints and pages");
    text.push_str(
        "# Permissions and roles\n\n\
         A permission is what an endpoint, a page or a form asks for. A role is a fixed set of permissions; one identity may hold\n\
         several roles. A token can narrow what its roles allow by a scope, never widen it.\n\n",
    );
    roles(&mut text);
    let endpoints = routes::endpoints();
    text.push_str("\n## What asks for which\n");
    for permission in Permission::ALL {
        let _ = write!(text, "\n### `{permission}`\n\n{}.\n\n", capital(permission.meaning()));
        asked(&mut text, permission, &endpoints);
    }
    text.push_str("\n## Without a permission\n\n");
    let free = endpoints.iter().filter(|endpoint| !matches!(endpoint.access, Access::Needs(_)));
    for endpoint in free {
        let who = match endpoint.access {
            Access::SignedIn => "whoever proved who they are",
            _ => "everybody",
        };
        let _ = writeln!(text, "- `{} {}`, for {who}: {}", endpoint.method, endpoint.path, endpoint.summary);
    }
    text.push_str("- `/login`, and the files a page is made of (style, scripts, icon), for everybody\n");
    text
}

fn roles(text: &mut String) {
    let names: Vec<&str> = Role::ALL.iter().map(|role| role.name()).collect();
    let _ = writeln!(text, "| permission | allows to | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|---|{}", ":-:|".repeat(names.len()));
    for permission in Permission::ALL {
        let holds = Role::ALL.map(|role| if role.permissions().allows(permission) { "yes" } else { "–" });
        let _ = writeln!(
            text,
            "| [`{permission}`](#{}) | {} | {} |",
            permission.name().replace(':', ""),
            permission.meaning(),
            holds.join(" | ")
        );
    }
}

fn asked(text: &mut String, permission: Permission, endpoints: &[Endpoint]) {
    let before = text.len();
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.access == Access::Needs(permission)) {
        let of = match endpoint.surface {
            Surface::Ours => endpoint.summary.to_owned(),
            Surface::Foreign(api) => format!("{api}'s API"),
        };
        let _ = writeln!(text, "- `{} {}`: {of}", endpoint.method, endpoint.path);
    }
    let pages: Vec<String> = page::PATHS
        .iter()
        .filter(|(_, needed)| *needed == Access::Needs(permission))
        .map(|(path, _)| format!("`{path}`"))
        .collect();
    if !pages.is_empty() {
        let _ = writeln!(text, "- pages: {}", pages.join(", "));
    }
    let forms: Vec<String> = page::ACTIONS
        .iter()
        .filter(|action| action.access == Access::Needs(permission))
        .map(|action| format!("`{}`", action.path))
        .collect();
    if !forms.is_empty() {
        let _ = writeln!(text, "- forms: {}", forms.join(", "));
    }
    if text.len() == before {
        text.push_str("Nothing asks for it yet.\n");
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[test]
fn the_page_of_permissions_is_what_the_code_says() {
    check("permissions.md", &page());
}
