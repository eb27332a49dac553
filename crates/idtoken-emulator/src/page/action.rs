//! What the page's buttons do.

use std::collections::HashMap;
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::server::Shared;

/// Does what a form asks for. Gives the number of a token that shall be shown, if one shall.
pub(super) fn perform(
    shared: &Shared,
    path: &str,
    body: &[u8],
) -> Result<Option<u64>, &'static str> {
    let form: HashMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    match path {
        "/emulator/clock" => {
            let step: i64 = field("step_s").parse().map_err(|_| "No such step.")?;
            let clock = &shared.clock;
            clock.set_offset_s(if step == 0 {
                0
            } else {
                clock.offset_s().saturating_add(step)
            });
        }
        "/emulator/fault" => {
            let endpoint = Endpoint::named(field("endpoint")).ok_or("No such endpoint.")?;
            let fault = fault(field("fault")).ok_or("No such fault.")?;
            match field("times") {
                "" => shared.world().faults.set(endpoint, fault),
                times => {
                    let times = times.parse().map_err(|_| "How often?")?;
                    shared.world().faults.add(endpoint, times, fault);
                }
            }
        }
        "/emulator/heal" => shared.world().faults.heal_all(),
        "/emulator/retire" => shared.retire_keys(),
        "/emulator/reveal" => {
            let number = field("number").parse().map_err(|_| "No such token.")?;
            return Ok(Some(number));
        }
        "/emulator/rotate" => shared.rotate_keys(),
        _ => return Err("No such button."),
    }
    Ok(None)
}

fn fault(name: &str) -> Option<Fault> {
    FAULTS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, fault)| fault())
}

type MakeFault = fn() -> Fault;

/// Those that need no more than a name.
pub(super) const FAULTS: [(&str, MakeFault); 12] = [
    ("status 503", || Fault::Status(503)),
    ("status 429", || Fault::Status(429)),
    ("status 403", || Fault::Status(403)),
    ("status 404", || Fault::Status(404)),
    ("2 s late", || Fault::Delay(Duration::from_secs(2))),
    ("no answer", || Fault::Hang),
    ("reset", || Fault::Reset),
    ("empty", || Fault::Empty),
    ("a page for people", || Fault::Garbage),
    ("truncated", || Fault::Truncated),
    ("expired token", || Fault::ExpiredToken),
    ("wrong audience", || Fault::WrongAudience),
];
