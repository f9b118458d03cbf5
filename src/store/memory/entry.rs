//! One record and its rules: who may claim, dispatch and settle what, at which time. Knows no lock and
//! no clock.

use tokio_util::sync::CancellationToken;

use super::{
    Ms,
    compact::{Pending, Recipients},
};
use crate::{
    message::Fingerprint,
    store::{Begin, Files, Record, Settlement, Unsent},
    trace,
};

/// What is remembered of one request.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) fingerprint: Fingerprint,
    pub(super) expires: Ms,
    recipients: Recipients,
    run: Option<Box<Run>>,
    // Boxed, both: few records have any.
    files: Option<Box<Files>>,
}

/// The one run that may send, while there is one.
#[derive(Debug)]
struct Run {
    owner: u64,
    /// How many are claimed or dispatched.
    active: u32,
    claimed_until: Ms,
    dispatched_until: Ms,
    /// For those who wait for its end.
    ended: Option<CancellationToken>,
    trace: Option<trace::Ids>,
}

impl Run {
    fn lives_until(&self) -> Ms {
        self.claimed_until.max(self.dispatched_until)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(ended) = &self.ended {
            ended.cancel();
        }
    }
}

impl Entry {
    /// A first run, which has all recipients.
    pub(super) fn new(fingerprint: Fingerprint, begin: &Begin<'_>, owner: u64, until: Ms) -> Self {
        let count = begin.recipients;
        Self {
            fingerprint,
            expires: until,
            recipients: Recipients::claimed(count),
            run: Some(Box::new(Run {
                owner,
                active: u32::try_from(count).unwrap_or(u32::MAX),
                claimed_until: until,
                dispatched_until: 0,
                ended: None,
                trace: begin.trace,
            })),
            files: None,
        }
    }

    pub(super) fn recipients(&self) -> usize {
        self.recipients.len()
    }

    /// When the run that is under way runs out.
    pub(super) fn runs_until(&self, now: Ms) -> Option<Ms> {
        let until = self.run.as_ref()?.lives_until();
        (until > now).then_some(until)
    }

    /// Whether a run has not ended, even if it has run out.
    pub(super) fn has_run(&self) -> bool {
        self.run.is_some()
    }

    /// Told when the run that is under way ends.
    pub(super) fn ended(&mut self) -> CancellationToken {
        match &mut self.run {
            Some(run) => run.ended.get_or_insert_default().clone(),
            None => {
                let ended = CancellationToken::new();
                ended.cancel();
                ended
            }
        }
    }

    /// Where the trace of the run is that is under way.
    pub(super) fn trace(&self) -> Option<trace::Ids> {
        self.run.as_ref()?.trace
    }

    /// Gives what is free to a new run, and if it means to resend, what is unknown too. Not while another run
    /// lives. `false`: there was nothing to give.
    pub(super) fn claim(&mut self, owner: u64, until: Ms, begin: &Begin<'_>) -> bool {
        self.bury();
        let mut active = 0;
        for at in 0..self.recipients.len() {
            let doubt = match self.recipients.pending(at) {
                Some(Pending::Free) => false,
                Some(Pending::Unknown) if begin.resend_maybe_sent => true,
                _ => continue,
            };
            self.recipients.set(at, Pending::Claimed { doubt });
            active += 1;
        }
        if active > 0 {
            self.run = Some(Box::new(Run {
                owner,
                active,
                claimed_until: until,
                dispatched_until: 0,
                ended: None,
                trace: begin.trace,
            }));
        }
        active > 0
    }

    /// What a run has left behind that died: nobody sends what it claimed, and nobody knows what became
    /// of what it dispatched.
    pub(super) fn bury(&mut self) {
        if self.run.take().is_none() {
            return;
        }
        for at in 0..self.recipients.len() {
            match self.recipients.pending(at) {
                Some(Pending::Claimed { doubt }) => self.recipients.set(at, freed(doubt)),
                Some(Pending::Dispatched { .. }) => self.recipients.set(at, Pending::Unknown),
                _ => {}
            }
        }
    }

    pub(super) fn renew(&mut self, owner: u64, now: Ms, until: Ms) -> bool {
        let Some(run) = self.run_of(owner) else {
            return false;
        };
        let lives = run.lives_until() > now;
        if lives {
            run.claimed_until = run.claimed_until.max(until);
        }
        lives
    }

    pub(super) fn dispatch(&mut self, owner: u64, part: &[u32], now: Ms, until: Ms) -> bool {
        let claimed = |at: &u32| {
            let pending = self.recipients.pending(place(*at));
            matches!(pending, Some(Pending::Claimed { .. }))
        };
        if !part.iter().all(claimed) {
            return false;
        }
        match self.run_of(owner) {
            Some(run) if run.claimed_until > now => {
                run.dispatched_until = run.dispatched_until.max(until);
            }
            _ => return false,
        }
        for at in part.iter().copied().map(place) {
            if let Some(Pending::Claimed { doubt }) = self.recipients.pending(at) {
                self.recipients.set(at, Pending::Dispatched { doubt });
            }
        }
        true
    }

    pub(super) fn release(
        &mut self,
        owner: u64,
        part: &[u32],
        doubt: bool,
        now: Ms,
        until: Ms,
    ) -> bool {
        match self.run_of(owner) {
            Some(run) if run.lives_until() > now => {
                run.claimed_until = run.claimed_until.max(until);
            }
            _ => return false,
        }
        for at in part.iter().copied().map(place) {
            if let Some(Pending::Dispatched { doubt: before }) = self.recipients.pending(at) {
                let doubt = before || doubt;
                self.recipients.set(at, Pending::Claimed { doubt });
            }
        }
        true
    }

    pub(super) fn settle(&mut self, owner: u64, part: &[u32], settlement: Settlement<'_>) {
        let own = self.run_of(owner).is_some();
        let mut settled = 0;
        for (i, at) in part.iter().copied().map(place).enumerate() {
            let Some(pending) = self.recipients.pending(at) else {
                continue;
            };
            let active = matches!(
                pending,
                Pending::Claimed { .. } | Pending::Dispatched { .. }
            );
            // Of a run that was taken for dead only what nobody has claimed since.
            if active && !own {
                continue;
            }
            match settlement.message_ids.get(i) {
                Some(Some(id)) => self.recipients.accept(at, id, settlement.timestamp_ms),
                _ if own => self.recipients.set(at, unsent(pending, settlement.unsent)),
                _ => {}
            }
            settled += u32::from(active);
        }
        self.leave(owner, settled);
    }

    /// Gives back what is claimed and not dispatched.
    pub(super) fn abandon(&mut self, owner: u64) {
        if self.run_of(owner).is_none() {
            return;
        }
        let mut freed_now = 0;
        for at in 0..self.recipients.len() {
            if let Some(Pending::Claimed { doubt }) = self.recipients.pending(at) {
                self.recipients.set(at, freed(doubt));
                freed_now += 1;
            }
        }
        self.leave(owner, freed_now);
    }

    /// The run has so many fewer; with the last one it ends.
    fn leave(&mut self, owner: u64, settled: u32) {
        if let Some(run) = self.run_of(owner) {
            run.active = run.active.saturating_sub(settled);
            if run.active == 0 {
                self.run = None;
            }
        }
    }

    pub(super) fn store(&mut self, owner: u64, change: impl FnOnce(&mut Files)) {
        if self.run_of(owner).is_some() {
            change(self.files.get_or_insert_default());
        }
    }

    /// Whether a repeat would find nothing in it.
    pub(super) fn is_blank(&self) -> bool {
        self.run.is_none() && self.files.is_none() && self.recipients.all_free()
    }

    pub(super) fn record(&self) -> Record {
        Record {
            fingerprint: self.fingerprint,
            recipients: self.recipients.states(),
            files: self.files.as_deref().cloned().unwrap_or_default(),
        }
    }

    /// Bytes outside of the value itself, but for a run: the requests under way are bounded elsewhere.
    pub(super) fn heap_bytes(&self) -> usize {
        // The strings of a file are about as long as the file's own struct.
        let files = self.files.as_ref().map_or(0, |_| 2 * size_of::<Files>());
        self.recipients.heap_bytes() + files
    }

    fn run_of(&mut self, owner: u64) -> Option<&mut Run> {
        self.run.as_deref_mut().filter(|run| run.owner == owner)
    }
}

/// A recipient that nobody has any more, and that nothing more was sent to.
fn freed(doubt: bool) -> Pending {
    match doubt {
        true => Pending::Unknown,
        false => Pending::Free,
    }
}

fn unsent(pending: Pending, unsent: Unsent) -> Pending {
    match (pending, unsent) {
        (Pending::Claimed { doubt } | Pending::Dispatched { doubt }, Unsent::NotSent) => {
            freed(doubt)
        }
        (Pending::Claimed { .. } | Pending::Dispatched { .. }, Unsent::MaybeSent) => {
            Pending::Unknown
        }
        (pending, _) => pending,
    }
}

fn place(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
