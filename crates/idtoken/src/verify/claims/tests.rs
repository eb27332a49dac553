use std::time::Duration;

use serde::Deserialize;

use super::*;

fn claims(text: &str) -> Claims {
    Claims::accepted(&Payload::parse(text).unwrap())
}

const FULL: &str = r#"{
    "iss":"https://accounts.google.com","aud":"https://f.a.run.app","azp":"1029",
    "sub":"110169484474386276334","email":"a@p.iam.gserviceaccount.com","email_verified":true,
    "hd":"example.com","iat":1700000000,"exp":1700003600,"nbf":1699999990,
    "google":{"compute_engine":{"instance_id":"815","instance_name":"vm","project_id":"p",
        "project_number":7,"zone":"europe-west1-b","instance_creation_timestamp":1600000000,
        "license_id":["1","2"],"instance_confidentiality":1},"organization_number":12},
    "tenant":{"id":5}
}"#;

#[test]
fn every_getter_reads_its_claim() {
    let claims = claims(FULL);
    assert_eq!(claims.iss(), "https://accounts.google.com");
    assert_eq!(claims.aud().collect::<Vec<_>>(), ["https://f.a.run.app"]);
    assert_eq!(claims.azp(), Some("1029"));
    assert_eq!(claims.sub(), "110169484474386276334");
    assert_eq!(claims.email(), Some("a@p.iam.gserviceaccount.com"));
    assert!(claims.email_verified());
    assert_eq!(claims.hd(), Some("example.com"));
    assert_eq!(
        claims.iat(),
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    );
    assert_eq!(
        claims.exp(),
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_003_600)
    );
    assert_eq!(
        claims.nbf(),
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_699_999_990))
    );
    assert_eq!(claims.as_json(), FULL);

    let google = claims.google().unwrap();
    assert_eq!(google.organization_number, Some(12));
    let machine = google.compute_engine.unwrap();
    assert_eq!(
        (machine.instance_name.as_str(), machine.project_number),
        ("vm", Some(7))
    );
    assert_eq!(machine.license_id, ["1", "2"]);
}

#[test]
fn a_typed_struct_and_single_claims_are_there_for_handlers() {
    #[derive(Deserialize)]
    struct Tenant {
        id: u32,
    }
    #[derive(Deserialize)]
    struct Mine<'a> {
        sub: &'a str,
        tenant: Tenant,
    }
    let claims = claims(FULL);
    let mine: Mine<'_> = claims.deserialize().unwrap();
    assert_eq!((mine.sub, mine.tenant.id), ("110169484474386276334", 5));
    assert_eq!(claims.get::<Tenant>("tenant").unwrap().unwrap().id, 5);
    assert!(claims.get::<Tenant>("nothing").unwrap().is_none());
    let error = claims.get::<u32>("tenant").unwrap_err();
    assert_eq!(error.to_string(), "claim is not of the type asked for");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn strings_with_escapes_are_read_as_what_they_mean() {
    let claims = claims(r#"{"sub":"a\u0062\n","aud":["x\/y","z"],"hd":"é"}"#);
    assert_eq!(claims.sub(), "ab\n");
    assert_eq!(claims.aud().collect::<Vec<_>>(), ["x/y", "z"]);
    assert_eq!(claims.hd(), Some("é"));
}

#[test]
fn a_claim_of_the_wrong_type_is_neither_absent_nor_present() {
    let payload =
        Payload::parse(r#"{"sub":7,"aud":["x",7],"iss":null,"exp":"1700003600"}"#).unwrap();
    assert_eq!(payload.get(Known::Sub), Claim::Mistyped);
    assert_eq!(payload.get(Known::Iss), Claim::Mistyped);
    assert_eq!(payload.get(Known::Azp), Claim::Absent);
    assert_eq!(payload.aud, Claim::Mistyped);
    assert_eq!(payload.exp, Claim::Mistyped);
    assert_eq!(payload.iat, Claim::Absent);
}

#[test]
fn times_are_whole_seconds_within_range() {
    let exp = |text: &str| Payload::parse(&format!(r#"{{"exp":{text}}}"#)).unwrap().exp;
    assert_eq!(exp("1700003600"), Claim::Present(1_700_003_600));
    assert_eq!(exp("1700003600.0"), Claim::Present(1_700_003_600));
    assert_eq!(exp("1.7e9"), Claim::Present(1_700_000_000));
    assert_eq!(exp("0"), Claim::Present(0));
    assert_eq!(exp("253402300799"), Claim::Present(253_402_300_799));
    for bad in [
        "253402300800",
        "18446744073709551616",
        "1e40",
        "-1",
        "1700003600.5",
        "null",
        "true",
        "[]",
        "{}",
        r#""1700003600""#,
        "[1700003600]",
    ] {
        assert_eq!(exp(bad), Claim::Mistyped, "{bad}");
    }
}

#[test]
fn email_verified_is_the_json_true_only() {
    let verified = |text: &str| {
        Payload::parse(&format!(r#"{{"email_verified":{text}}}"#))
            .unwrap()
            .email_verified
    };
    assert!(verified("true"));
    for other in ["false", "1", r#""true""#, "null", "[true]"] {
        assert!(!verified(other), "{other}");
    }
    assert!(!Payload::parse("{}").unwrap().email_verified);
}

#[test]
fn at_most_128_claims_are_read() {
    let many = |count: usize| {
        let members: Vec<_> = (0..count).map(|i| format!("\"c{i}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert!(Payload::parse(&many(128)).is_some());
    assert!(Payload::parse(&many(129)).is_none());
}

#[test]
fn unverified_claims_are_read_only_by_that_name() {
    let jwt = "e30.eyJpc3MiOiJtZSIsImV4cCI6MTcwMDAwMDAwMH0.c2ln";
    let claims = UnverifiedClaims::read_without_verifying(jwt).unwrap();
    assert_eq!(claims.iss(), Some("me"));
    assert_eq!(
        claims.exp(),
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
    );
    assert_eq!(
        (claims.sub(), claims.iat(), claims.aud().count()),
        (None, None, 0)
    );
    assert!(matches!(
        UnverifiedClaims::read_without_verifying("e30.W10.c2ln"),
        Err(Malformed::PayloadNotObject)
    ));
}
