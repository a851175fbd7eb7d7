use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn alice() -> PartyName {
    "alice".parse().unwrap()
}

/// A session that may start by itself, and now.
fn free(state: &mut SessionState, now: Instant) -> Decision {
    state.decide(now, Start::OnProposal, Allowance::Now)
}

#[test]
fn a_runner_that_is_there_is_a_proposal_until_one_is_here() {
    let (mut state, now) = (SessionState::default(), Instant::now());
    assert_eq!(free(&mut state, now), Decision::Wait(None));
    state.present(alice(), "a".into(), now);
    assert_eq!(free(&mut state, now), Decision::Start(alice()));
    state.starting();
    assert_eq!(free(&mut state, now), Decision::Wait(None));
    state.registered();
    assert_eq!(free(&mut state, now), Decision::Wait(None));
}

#[test]
fn who_lingers_after_a_run_proposes_nothing_and_who_stays_does() {
    let (mut state, now) = (SessionState::default(), Instant::now());
    state.present(alice(), "a".into(), now);
    state.registered();
    state.ended(true, now);
    assert_eq!(free(&mut state, now), Decision::Wait(Some(now + LINGER_AFTER_RUN)));
    state.gone(&alice());
    state.present(alice(), "b".into(), now);
    assert_eq!(free(&mut state, now), Decision::Wait(Some(now + LINGER_AFTER_RUN)));
    assert_eq!(free(&mut state, now + LINGER_AFTER_RUN), Decision::Start(alice()));
}

#[test]
fn who_knocked_at_the_end_of_a_run_proposes_only_by_knocking_again() {
    let (mut state, now) = (SessionState::default(), Instant::now());
    state.dialled(alice(), now);
    state.registered();
    state.ended(true, now);
    state.dialled(alice(), now + LINGER_AFTER_RUN / 2);
    assert_eq!(free(&mut state, now + LINGER_AFTER_RUN), Decision::Wait(None));
    state.dialled(alice(), now + LINGER_AFTER_RUN);
    assert_eq!(free(&mut state, now + LINGER_AFTER_RUN), Decision::Start(alice()));
}

#[test]
fn a_knock_fades() {
    let (mut state, now) = (SessionState::default(), Instant::now());
    state.dialled(alice(), now);
    assert_eq!(free(&mut state, now), Decision::Start(alice()));
    assert_eq!(free(&mut state, now + DIALLED_LIFETIME), Decision::Wait(None));
    state.dialled(alice(), now + 3 * DIALLED_LIFETIME);
    assert_eq!(free(&mut state, now + 3 * DIALLED_LIFETIME), Decision::Start(alice()));
}

#[test]
fn limits_hold_and_a_person_may_go_beyond_them() {
    let (mut state, now) = (SessionState::default(), Instant::now());
    state.present(alice(), "a".into(), now);
    let later = Allowance::In(9 * SECOND);
    let decision = state.decide(now, Start::OnProposal, later);
    assert_eq!(decision, Decision::Defer(alice(), now + 9 * SECOND));
    let again = state.decide(now, Start::OnProposal, later);
    assert_eq!(again, Decision::Wait(Some(now + 9 * SECOND)), "told once");
    let decision = state.decide(now, Start::OnProposal, Allowance::Never);
    assert_eq!(decision, Decision::Ask(alice()));
    let again = state.decide(now, Start::OnProposal, Allowance::Never);
    assert_eq!(again, Decision::Wait(None), "a person is asked once");
    assert!(state.waits() && state.approve(now));
    let decision = state.decide(now, Start::OnProposal, Allowance::Never);
    assert_eq!(decision, Decision::Start(alice()));
}

#[test]
fn a_manual_session_waits_for_a_person() {
    let (mut state, now) = (SessionState::default(), Instant::now());
    assert!(!state.approve(now) && !state.reject(now));
    state.present(alice(), "a".into(), now);
    assert_eq!(state.decide(now, Start::Manual, Allowance::Now), Decision::Ask(alice()));
    assert!(state.reject(now) && !state.waits());
    assert_eq!(state.decide(now, Start::Manual, Allowance::Now), Decision::Wait(None));
    state.dialled(alice(), now + SECOND);
    assert_eq!(state.decide(now + SECOND, Start::Manual, Allowance::Now), Decision::Wait(None));
    state.present(alice(), "b".into(), now + SECOND);
    assert_eq!(state.decide(now + SECOND, Start::Manual, Allowance::Now), Decision::Ask(alice()));
}

#[test]
fn a_rejected_party_that_knocks_on_is_not_heard_and_one_that_comes_back_is() {
    let (mut state, now) = (SessionState::default(), Instant::now());
    state.dialled(alice(), now);
    assert!(state.reject(now));
    let mut then = now;
    for _ in 0..20 {
        then += SECOND;
        state.dialled(alice(), then);
        assert_eq!(free(&mut state, then), Decision::Wait(None));
    }
    then += 3 * DIALLED_LIFETIME;
    state.dialled(alice(), then);
    assert_eq!(free(&mut state, then), Decision::Start(alice()));
}

#[test]
fn starts_that_lead_to_no_run_come_ever_more_seldom() {
    let (mut state, mut now) = (SessionState::default(), Instant::now());
    state.present(alice(), "a".into(), now);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        assert_eq!(free(&mut state, now), Decision::Start(alice()));
        state.starting();
        state.ended(false, now);
        let seen = now + LINGER_AFTER_RUN;
        state.present(alice(), format!("{now:?}"), seen);
        let Decision::Defer(_, next) = free(&mut state, seen) else { panic!("started at once") };
        pauses.push((next - now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600, 600]);
    state.registered();
    state.ended(true, now);
    now += LINGER_AFTER_RUN;
    state.present(alice(), "b".into(), now);
    assert_eq!(free(&mut state, now), Decision::Start(alice()), "a run makes good for them");
}
