//! The page itself.

use std::fmt::Write as _;

use super::action::FAULTS;
use super::html::Text;
use crate::account::Account;
use crate::endpoint::Endpoint;
use crate::jose::Unverified;
use crate::journal::Issued;
use crate::server::Shared;
use crate::world::{World, rfc3339};

pub(super) fn page(shared: &Shared, revealed: Option<u64>) -> String {
    let now = shared.now();
    let world = shared.world();
    let still = if revealed.is_some() {
        " data-still"
    } else {
        ""
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>A local Google</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <link rel=\"stylesheet\" href=\"/emulator/style.css\">\n\
         <script src=\"/emulator/script.js\" defer></script>\n<body{still}>\n\
         <header><h1>A local Google</h1><p><code>{}</code> Its tokens are worth nothing \
         elsewhere.</p></header>\n{}<main>\n",
        Text(world.url()),
        controls(),
    );
    page.push_str(&state(&world, now, shared.clock.offset_s()));
    page.push_str(&tokens(&world, now, revealed));
    page.push_str(&requests(&world));
    page.push_str(&accounts(&world));
    page.push_str(&services(&world));
    page.push_str("</main>\n");
    page
}

/// Outside of what the script renews, so that a form keeps what somebody chose in it.
fn controls() -> String {
    let button = |action: &str, label: &str| {
        format!(
            "<form method=\"post\" action=\"/emulator/{action}\"><button>{label}</button></form>\n"
        )
    };
    let mut html = String::from("<section id=\"controls\">\n<div><h2>Keys</h2>\n");
    html.push_str(&button("rotate", "Rotate"));
    html.push_str(&button("retire", "Retire old ones"));
    html.push_str(
        "</div>\n<div><h2>Clock</h2>\n<form method=\"post\" action=\"/emulator/clock\">\n",
    );
    for (step, label) in STEPS {
        let _ = writeln!(
            html,
            "<button name=\"step_s\" value=\"{step}\">{label}</button>"
        );
    }
    html.push_str(
        "</form></div>\n<div><h2>Faults</h2>\n<form method=\"post\" action=\"/emulator/fault\">\n\
         <select name=\"endpoint\" aria-label=\"endpoint\">",
    );
    for endpoint in Endpoint::ALL {
        let chosen = if endpoint == Endpoint::Identity {
            " selected"
        } else {
            ""
        };
        let _ = write!(html, "<option{chosen}>{}</option>", endpoint.name());
    }
    html.push_str("</select>\n<select name=\"fault\" aria-label=\"fault\">");
    for (name, _) in FAULTS {
        let _ = write!(html, "<option>{name}</option>");
    }
    html.push_str(
        "</select>\n<select name=\"times\" aria-label=\"how often\">\
         <option value=\"1\">once</option><option value=\"3\">3 times</option>\
         <option value=\"\">until healed</option></select>\n<button>Set</button></form>\n",
    );
    html.push_str(&button("heal", "Heal all"));
    html.push_str("</div>\n</section>\n");
    html
}

fn state(world: &World, now: u64, offset_s: i64) -> String {
    let offset = match offset_s {
        0 => "as this machine's".to_owned(),
        ahead @ 1.. => format!("{ahead} s ahead"),
        behind => format!("{} s behind", behind.unsigned_abs()),
    };
    let mut html = format!(
        "<section><h2>Now</h2><dl><dt>Clock</dt><dd id=\"clock\">{} <i>{offset}</i></dd>\n\
         <dt>Keys</dt><dd id=\"keys\">",
        rfc3339(now)
    );
    for key in world.keys.published() {
        let role = if key.id() == world.keys.current.id() {
            "signs"
        } else if world
            .keys
            .next
            .as_ref()
            .is_some_and(|next| next.id() == key.id())
        {
            "next"
        } else {
            "old"
        };
        let _ = writeln!(
            html,
            "<div><code>{}</code> <span class=\"{role}\">{role}</span></div>",
            Text(key.id())
        );
    }
    html.push_str("</dd>\n<dt>Faults</dt><dd id=\"faults\">");
    let faults = world.faults.planned();
    if faults.is_empty() {
        html.push_str("none");
    }
    for (endpoint, fault) in faults {
        let _ = writeln!(html, "<div>{}: {}</div>", endpoint.name(), Text(fault));
    }
    html.push_str("</dd></dl></section>\n");
    html
}

fn tokens(world: &World, now: u64, revealed: Option<u64>) -> String {
    let mut rows = String::new();
    for issued in world.journal.tokens.iter().rev() {
        if let Some(jwt) = Unverified::parse(&issued.token) {
            rows.push_str(&token(
                world,
                issued,
                &jwt,
                now,
                revealed == Some(issued.number),
            ));
        }
    }
    table(
        "tokens",
        "ID tokens given out",
        &["For", "Of", "Expires", "Claims"],
        &rows,
        "None yet.",
    )
}

fn token(world: &World, issued: &Issued, jwt: &Unverified<'_>, now: u64, revealed: bool) -> String {
    let exp = jwt.claim_seconds("exp").unwrap_or_default();
    let expiry = match exp.checked_sub(now) {
        Some(left) if left > 0 => format!("in {} min", left.div_ceil(60)),
        _ => "expired".to_owned(),
    };
    // A token need not name an address; the account that its id belongs to has one.
    let subject = jwt.claim_text("sub");
    let known = || world.account(subject?).map(Account::email);
    let whose = jwt.claim_text("email").or_else(known).or(subject);
    let claims = serde_json::to_string_pretty(&jwt.claims).unwrap_or_default();
    let secret = if revealed {
        format!("<pre class=\"token\">{}</pre>", Text(&issued.token))
    } else {
        format!(
            "<form method=\"post\" action=\"/emulator/reveal\"><input type=\"hidden\" \
             name=\"number\" value=\"{}\"><button>Show the token</button></form>",
            issued.number
        )
    };
    format!(
        "<tr><td>{}<td>{}<td>{expiry}<td><details id=\"token-{}\"{}><summary>claims</summary>\
         <pre>{}</pre>{secret}</details>\n",
        Text(jwt.claim_text("aud").unwrap_or_default()),
        Text(whose.unwrap_or_default()),
        issued.number,
        if revealed { " open" } else { "" },
        Text(claims),
    )
}

fn requests(world: &World) -> String {
    let mut rows = String::new();
    for entry in world.journal.requests.iter().rev() {
        let status = entry.status;
        let class = match status {
            200..=399 => "good",
            _ => "bad",
        };
        let shown = match status {
            0 => "none".to_owned(),
            code => code.to_string(),
        };
        let time = rfc3339(entry.at);
        let _ = writeln!(
            rows,
            "<tr><td>{}<td>{}<td>{} {}<td class=\"{class}\">{shown}<td>{}",
            time.get(11..19).unwrap_or_default(),
            Text(&entry.to),
            Text(&entry.method),
            Text(&entry.path),
            Text(&entry.verdict),
        );
    }
    table(
        "requests",
        "Requests",
        &["Time", "To", "Request", "Status", "Verdict"],
        &rows,
        "None yet.",
    )
}

fn accounts(world: &World) -> String {
    let attached = world.attached().map(|account| account.email().to_owned());
    let mut rows = String::new();
    for account in world.accounts() {
        let role = if Some(account.email()) == attached.as_deref() {
            "the metadata server's"
        } else {
            ""
        };
        let _ = writeln!(
            rows,
            "<tr><td>{}<td>{}<td>{}<td>{role}",
            Text(account.email()),
            Text(account.unique_id()),
            Text(account.project()),
        );
    }
    table(
        "accounts",
        "Accounts",
        &["Address", "Unique id", "Project", "Use"],
        &rows,
        "None.",
    )
}

fn services(world: &World) -> String {
    if world.services.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for (name, service) in &world.services {
        let invokers: Vec<_> = service.invokers.iter().map(String::as_str).collect();
        let invokers = if service.public {
            "everybody".to_owned()
        } else {
            invokers.join(", ")
        };
        let audiences: Vec<_> = service
            .audiences
            .iter()
            .filter(|audience| !audience.ends_with('/'))
            .map(String::as_str)
            .collect();
        let _ = writeln!(
            rows,
            "<tr><td>{}<td>{}<td>{}<td>{}",
            Text(name),
            Text(&service.url),
            Text(audiences.join(", ")),
            Text(invokers),
        );
    }
    let columns = ["Name", "Here", "Audiences", "Invokers"];
    table("services", "Services", &columns, &rows, "None.")
}

fn table(id: &str, heading: &str, columns: &[&str], rows: &str, none: &str) -> String {
    let mut html = format!("<section><h2>{heading}</h2>\n");
    if rows.is_empty() {
        let _ = writeln!(html, "<p id=\"{id}\">{none}</p></section>");
        return html;
    }
    let _ = write!(html, "<div class=\"wide\"><table id=\"{id}\"><thead><tr>");
    for column in columns {
        let _ = write!(html, "<th>{column}");
    }
    let _ = writeln!(html, "<tbody>\n{rows}</table></div></section>");
    html
}

const STEPS: [(i64, &str); 5] = [
    (-3_600, "−1 h"),
    (-300, "−5 min"),
    (0, "Real time"),
    (300, "+5 min"),
    (3_600, "+1 h"),
];
