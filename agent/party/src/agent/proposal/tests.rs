use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn alice() -> PartyName {
    "alice".parse().unwrap()
}

/// A session that may start by itself, and now.
fn free(seat: &mut Seat, now: Instant) -> Decision {
    seat.decide(now, Start::OnProposal, Allowance::Now)
}

#[test]
fn a_runner_that_is_there_is_a_proposal_until_one_is_here() {
    let (mut seat, now) = (Seat::default(), Instant::now());
    assert_eq!(free(&mut seat, now), Decision::Nothing(None));
    seat.present(alice(), "a".into(), now);
    assert_eq!(free(&mut seat, now), Decision::Start(alice()));
    seat.starting();
    assert_eq!(free(&mut seat, now), Decision::Nothing(None));
    seat.came();
    assert_eq!(free(&mut seat, now), Decision::Nothing(None));
}

#[test]
fn who_lingers_after_a_run_proposes_nothing_and_who_stays_does() {
    let (mut seat, now) = (Seat::default(), Instant::now());
    seat.present(alice(), "a".into(), now);
    seat.came();
    seat.went(true, now);
    assert_eq!(free(&mut seat, now), Decision::Nothing(Some(now + LINGER_AFTER_RUN)));
    seat.gone(&alice());
    seat.present(alice(), "b".into(), now);
    assert_eq!(free(&mut seat, now), Decision::Nothing(Some(now + LINGER_AFTER_RUN)));
    assert_eq!(free(&mut seat, now + LINGER_AFTER_RUN), Decision::Start(alice()));
}

#[test]
fn who_knocked_at_the_end_of_a_run_proposes_only_by_knocking_again() {
    let (mut seat, now) = (Seat::default(), Instant::now());
    seat.knock(alice(), now);
    seat.came();
    seat.went(true, now);
    seat.knock(alice(), now + LINGER_AFTER_RUN / 2);
    assert_eq!(free(&mut seat, now + LINGER_AFTER_RUN), Decision::Nothing(None));
    seat.knock(alice(), now + LINGER_AFTER_RUN);
    assert_eq!(free(&mut seat, now + LINGER_AFTER_RUN), Decision::Start(alice()));
}

#[test]
fn a_knock_fades() {
    let (mut seat, now) = (Seat::default(), Instant::now());
    seat.knock(alice(), now);
    assert_eq!(free(&mut seat, now), Decision::Start(alice()));
    assert_eq!(free(&mut seat, now + PORT_PROPOSAL_LIFETIME), Decision::Nothing(None));
    seat.knock(alice(), now + 3 * PORT_PROPOSAL_LIFETIME);
    assert_eq!(free(&mut seat, now + 3 * PORT_PROPOSAL_LIFETIME), Decision::Start(alice()));
}

#[test]
fn limits_hold_and_a_person_may_go_beyond_them() {
    let (mut seat, now) = (Seat::default(), Instant::now());
    seat.present(alice(), "a".into(), now);
    let later = Allowance::In(9 * SECOND);
    let decision = seat.decide(now, Start::OnProposal, later);
    assert_eq!(decision, Decision::Later(alice(), now + 9 * SECOND));
    let again = seat.decide(now, Start::OnProposal, later);
    assert_eq!(again, Decision::Nothing(Some(now + 9 * SECOND)), "told once");
    let decision = seat.decide(now, Start::OnProposal, Allowance::Never);
    assert_eq!(decision, Decision::Ask(alice()));
    let again = seat.decide(now, Start::OnProposal, Allowance::Never);
    assert_eq!(again, Decision::Nothing(None), "a person is asked once");
    assert!(seat.waits() && seat.approve(now));
    let decision = seat.decide(now, Start::OnProposal, Allowance::Never);
    assert_eq!(decision, Decision::Start(alice()));
}

#[test]
fn a_manual_session_waits_for_a_person() {
    let (mut seat, now) = (Seat::default(), Instant::now());
    assert!(!seat.approve(now) && !seat.reject(now));
    seat.present(alice(), "a".into(), now);
    assert_eq!(seat.decide(now, Start::Manual, Allowance::Now), Decision::Ask(alice()));
    assert!(seat.reject(now) && !seat.waits());
    assert_eq!(seat.decide(now, Start::Manual, Allowance::Now), Decision::Nothing(None));
    seat.knock(alice(), now + SECOND);
    assert_eq!(seat.decide(now + SECOND, Start::Manual, Allowance::Now), Decision::Nothing(None));
    seat.present(alice(), "b".into(), now + SECOND);
    assert_eq!(seat.decide(now + SECOND, Start::Manual, Allowance::Now), Decision::Ask(alice()));
}

#[test]
fn a_rejected_party_that_knocks_on_is_not_heard_and_one_that_comes_back_is() {
    let (mut seat, now) = (Seat::default(), Instant::now());
    seat.knock(alice(), now);
    assert!(seat.reject(now));
    let mut then = now;
    for _ in 0..20 {
        then += SECOND;
        seat.knock(alice(), then);
        assert_eq!(free(&mut seat, then), Decision::Nothing(None));
    }
    then += 3 * PORT_PROPOSAL_LIFETIME;
    seat.knock(alice(), then);
    assert_eq!(free(&mut seat, then), Decision::Start(alice()));
}

#[test]
fn starts_that_lead_to_no_run_come_ever_more_seldom() {
    let (mut seat, mut now) = (Seat::default(), Instant::now());
    seat.present(alice(), "a".into(), now);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        assert_eq!(free(&mut seat, now), Decision::Start(alice()));
        seat.starting();
        seat.went(false, now);
        let seen = now + LINGER_AFTER_RUN;
        seat.present(alice(), format!("{now:?}"), seen);
        let Decision::Later(_, next) = free(&mut seat, seen) else { panic!("started at once") };
        pauses.push((next - now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600, 600]);
    seat.came();
    seat.went(true, now);
    now += LINGER_AFTER_RUN;
    seat.present(alice(), "b".into(), now);
    assert_eq!(free(&mut seat, now), Decision::Start(alice()), "a run makes good for them");
}
