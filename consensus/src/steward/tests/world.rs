//! The steward in a small world of nodes that come, die, return, and are told what to do: whatever happens, what it
//! keeps holds at every step, and once nothing happens any more it comes to rest in the right place.

use super::*;
use proptest::prelude::*;

/// Between two looks.
const TICK_MS: u64 = 1_000;
/// Looks until it must have come to rest.
const TICKS_TO_REST: u64 = 400;
/// Looks during which it must do nothing then.
const TICKS_AT_REST: u64 = 100;
/// Looks that a certificate or a log takes to arrive.
const ARRIVAL_MS: u64 = 2_000;

#[derive(Clone, Debug)]
enum Happening {
    Join {
        is_witness: bool,
        disk: DiskClass,
        has_files: bool,
    },
    Kill(usize),
    Start(usize),
    Drain(usize, bool),
    Wish(usize, Voting),
    /// A person demotes it, if that is granted.
    Demote(usize),
    /// A person removes it, if that is granted.
    Remove(usize),
    /// The next change of voters is cut short.
    CutShort,
    Want(u8),
    Pass(u64),
}

#[derive(Clone, Debug)]
struct Node {
    role: Role,
    voting: Voting,
    is_draining: bool,
    is_alive: bool,
    disk: DiskClass,
    has_files: bool,
    /// When it was started or died.
    since_ms: u64,
    role_since_ms: u64,
    /// Since when it is sent the log.
    log_since_ms: Option<u64>,
}

#[derive(Debug)]
struct World {
    nodes: BTreeMap<NodeId, Node>,
    voters: BTreeSet<NodeId>,
    learners: BTreeSet<NodeId>,
    leader: Option<NodeId>,
    leads_since_ms: u64,
    is_joint: bool,
    cuts_short: bool,
    voters_wanted: u8,
    now_ms: u64,
    joined: u8,
}

impl World {
    fn founded() -> Self {
        let mut world = Self {
            nodes: BTreeMap::new(),
            voters: ids(&[1]),
            learners: BTreeSet::new(),
            leader: Some(id(1)),
            leads_since_ms: 0,
            is_joint: false,
            cuts_short: false,
            voters_wanted: 3,
            now_ms: 1_000_000,
            joined: 0,
        };
        world.join(Role::Nucleus, DiskClass::Good, true);
        world.leads_since_ms = world.now_ms;
        world
    }

    fn join(&mut self, role: Role, disk: DiskClass, has_files: bool) {
        self.joined += 1;
        let node = Node {
            role,
            voting: Voting::Auto,
            is_draining: false,
            is_alive: true,
            disk,
            has_files,
            since_ms: self.now_ms,
            role_since_ms: self.now_ms,
            log_since_ms: (role == Role::Nucleus).then_some(self.now_ms),
        };
        self.nodes.insert(id(self.joined), node);
    }

    fn is_alive(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.is_alive)
    }

    fn alive_of(&self, voters: &BTreeSet<NodeId>) -> usize {
        voters.iter().filter(|id| self.is_alive(**id)).count()
    }

    fn has_majority(&self, voters: &BTreeSet<NodeId>) -> bool {
        self.alive_of(voters) > voters.len() / 2
    }

    fn has_log(&self, id: NodeId) -> bool {
        let takes_part = self.voters.contains(&id) || self.learners.contains(&id);
        let arrived = |node: &Node| {
            let since = node.log_since_ms.map(|since| since.max(node.since_ms));
            since.is_some_and(|since| self.now_ms >= since + ARRIVAL_MS)
        };
        takes_part && self.is_alive(id) && self.nodes.get(&id).is_some_and(arrived)
    }

    /// Another voter leads if the one that did is gone and the others can elect.
    fn elect(&mut self) {
        if self.leader.is_some_and(|leader| self.is_alive(leader) && self.voters.contains(&leader))
            && self.has_majority(&self.voters)
        {
            return;
        }
        self.leader = None;
        if self.has_majority(&self.voters) {
            // Of a majority of voters one has all that was decided; here every living voter has.
            self.leader = self.voters.iter().copied().find(|id| self.is_alive(*id));
            self.leads_since_ms = self.now_ms;
        }
    }

    fn observed(&self, own: NodeId) -> Observed {
        let of = |(id, node): (&NodeId, &Node)| {
            let for_ms = self.now_ms - node.since_ms.max(self.leads_since_ms);
            let member = Member {
                name: id.to_string(),
                role: node.role,
                is_certified: node.is_alive && self.now_ms >= node.role_since_ms + ARRIVAL_MS,
                voting: node.voting,
                is_draining: node.is_draining,
                hearing: if node.is_alive { Hearing::Heard { for_ms } } else { Hearing::Silent { for_ms } },
                has_log: self.has_log(*id),
                disk: node.disk,
                has_files: node.has_files,
            };
            (*id, member)
        };
        Observed {
            own,
            voters: self.voters.clone(),
            learners: self.learners.clone(),
            is_joint: self.is_joint,
            members: self.nodes.iter().map(of).collect(),
            leads_for_ms: self.now_ms - self.leads_since_ms,
            quorum_silent_for_ms: 0,
            rules: Rules { voters_wanted: self.voters_wanted, ..Rules::default() },
        }
    }

    fn set_voters(&mut self, next: &BTreeSet<NodeId>) {
        assert!(matches!(next.len(), 1 | 3 | 5), "one, three or five: {next:?}");
        assert!(self.has_majority(&self.voters), "those before decide: {self:?}");
        assert!(self.has_majority(next), "those after decide: {next:?} {self:?}");
        for id in next.difference(&self.voters) {
            assert!(self.learners.contains(id) && self.has_log(*id), "{id} learned first");
            assert!(self.nodes[id].role.may_lead(), "{id} may lead");
        }
        // Whoever does not vote any more is still sent the log.
        let mut learners = self.learners.union(&self.voters).copied().collect::<BTreeSet<_>>();
        learners.retain(|id| !next.contains(id));
        (self.learners, self.voters) = (learners, next.clone());
        self.is_joint = std::mem::take(&mut self.cuts_short);
    }

    fn margin(&self) -> isize {
        self.alive_of(&self.voters) as isize - (self.voters.len() / 2 + 1) as isize
    }

    fn carry_out(&mut self, step: Step) {
        assert!(!self.is_joint || step == Step::FinishChange, "one change at a time: {step:?}");
        match step {
            Step::FinishChange => self.is_joint = false,
            Step::GiveRole(id) => {
                let now_ms = self.now_ms;
                let node = self.nodes.get_mut(&id).expect("a member");
                assert_eq!(node.role, Role::Star);
                (node.role, node.role_since_ms) = (Role::Nucleus, now_ms);
            }
            Step::TakeRole(id) => {
                assert!(!self.voters.contains(&id) && !self.learners.contains(&id));
                assert!(self.nodes.iter().any(|(other, node)| *other != id && node.role == Role::Nucleus));
                let node = self.nodes.get_mut(&id).expect("a member");
                assert_eq!(node.role, Role::Nucleus);
                node.role = Role::Star;
            }
            Step::AddLearner(id) => {
                assert!(self.nodes[&id].role.may_lead() && !self.voters.contains(&id));
                assert!(self.learners.insert(id), "it was none");
                self.nodes.get_mut(&id).expect("a member").log_since_ms = Some(self.now_ms);
            }
            Step::RemoveLearner(id) => {
                assert!(self.learners.remove(&id), "it was one");
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.log_since_ms = None;
                }
            }
            Step::SetVoters(next) => {
                let before = self.margin();
                let is_asked = |id: &NodeId| {
                    let asked = |node: &Node| node.is_draining || node.voting == Voting::Unwanted;
                    self.nodes.get(id).is_none_or(asked)
                };
                let is_asked =
                    self.voters.len() > usize::from(self.voters_wanted) || self.voters.iter().any(is_asked);
                self.set_voters(&next);
                assert!(is_asked || self.margin() >= before, "it survives no fewer failures: {self:?}");
            }
            Step::HandOver(id) => {
                assert!(self.voters.contains(&id) && self.is_alive(id) && self.has_log(id));
                assert_ne!(self.leader, Some(id));
                self.leader = Some(id);
                self.leads_since_ms = self.now_ms;
            }
        }
    }

    fn tick(&mut self) -> Option<Step> {
        self.now_ms += TICK_MS;
        self.elect();
        let step = decide(&self.observed(self.leader?))?;
        self.carry_out(step.clone());
        Some(step)
    }

    fn nth(&self, at: usize) -> Option<NodeId> {
        self.nodes.keys().copied().nth(at % self.nodes.len().max(1))
    }

    fn stop_voting(&mut self, id: NodeId) -> bool {
        self.elect();
        let Some(leader) = self.leader.filter(|_| !self.is_joint) else { return false };
        let observed = self.observed(leader);
        let Ok(next) = may_stop_voting(&observed, id) else { return false };
        assert!(!next.contains(&id));
        if next != self.voters {
            self.set_voters(&next);
        }
        true
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Join { is_witness, disk, has_files } if self.nodes.len() < 9 => {
                self.join(
                    if is_witness { Role::Witness } else { Role::Star },
                    disk,
                    has_files && !is_witness,
                );
            }
            Happening::Join { .. } => {}
            Happening::Kill(at) => self.set_alive(at, false),
            Happening::Start(at) => self.set_alive(at, true),
            Happening::Drain(at, is_draining) => {
                let id = self.nth(at);
                id.and_then(|id| self.nodes.get_mut(&id))
                    .into_iter()
                    .for_each(|node| node.is_draining = is_draining);
            }
            Happening::Wish(at, voting) => {
                let id = self.nth(at);
                id.and_then(|id| self.nodes.get_mut(&id)).into_iter().for_each(|node| node.voting = voting);
            }
            Happening::Demote(at) => {
                let Some(id) = self.nth(at) else { return };
                if self.stop_voting(id) {
                    self.nodes.get_mut(&id).expect("a member").voting = Voting::Unwanted;
                }
            }
            Happening::Remove(at) => {
                let Some(id) = self.nth(at).filter(|_| self.nodes.len() > 1) else { return };
                let is_nucleus = |(other, node): (&NodeId, &Node)| *other != id && node.role == Role::Nucleus;
                if self.nodes.iter().any(is_nucleus) && self.stop_voting(id) {
                    self.nodes.remove(&id);
                }
            }
            Happening::CutShort => self.cuts_short = true,
            Happening::Want(voters) => self.voters_wanted = voters,
            Happening::Pass(ticks) => {
                for _ in 0..ticks {
                    self.tick();
                }
            }
        }
    }

    fn set_alive(&mut self, at: usize, is_alive: bool) {
        let now_ms = self.now_ms;
        if let Some(node) =
            self.nth(at).and_then(|id| self.nodes.get_mut(&id)).filter(|node| node.is_alive != is_alive)
        {
            (node.is_alive, node.since_ms) = (is_alive, now_ms);
        }
    }

    /// That everything is where it should be, once nothing happens any more.
    fn check_rest(&mut self) {
        let mut steps = Vec::new();
        for _ in 0..TICKS_TO_REST {
            steps.extend(self.tick());
        }
        assert!(steps.len() < 100, "it swings: {steps:?}");
        for _ in 0..TICKS_AT_REST {
            let step = self.tick();
            assert_eq!(step, None, "it rests: {self:?}");
        }
        let Some(leader) = self.leader else {
            assert!(!self.has_majority(&self.voters));
            return;
        };
        let is_fit = |id: &NodeId| {
            let fit = |node: &Node| node.is_alive && !node.is_draining && node.voting != Voting::Unwanted;
            self.nodes.get(id).is_some_and(fit)
        };
        let fit = self.nodes.keys().filter(|id| is_fit(id)).count();
        let possible = usize::from(voters_for(fit).min(voters_for(usize::from(self.voters_wanted))));
        assert!(self.voters.len() >= possible, "as many as possible: {self:?}");
        if fit >= self.voters.len() {
            let is_spare = self.voters.len() == 5 && fit == 4;
            assert!(is_spare || self.voters.iter().all(is_fit), "the fit ones: {self:?}");
        }
        if self.voters.iter().any(is_fit) {
            assert!(is_fit(&leader), "whoever is to go does not lead: {self:?}");
        }
        if fit > self.voters.len() {
            assert!(self.learners.iter().any(is_fit), "one stands by: {self:?}");
        }
        let witness = |id: &NodeId| self.nodes[id].role == Role::Witness;
        if self.voters.iter().any(|id| is_fit(id) && !witness(id)) && is_fit(&leader) {
            assert!(!witness(&leader), "a witness does not lead: {self:?}");
        }
    }
}

fn happenings() -> impl Strategy<Value = Happening> {
    let at = || 0..9_usize;
    let disks =
        prop::sample::select(vec![DiskClass::Good, DiskClass::Unknown, DiskClass::Slow, DiskClass::Unfit]);
    let join = (prop::bool::weighted(0.2), disks, any::<bool>())
        .prop_map(|(is_witness, disk, has_files)| Happening::Join { is_witness, disk, has_files });
    let wishes = prop::sample::select(vec![Voting::Auto, Voting::Wanted, Voting::Unwanted]);
    prop_oneof![
        6 => join,
        4 => at().prop_map(Happening::Kill),
        3 => at().prop_map(Happening::Start),
        2 => (at(), any::<bool>()).prop_map(|(at, is)| Happening::Drain(at, is)),
        2 => (at(), wishes).prop_map(|(at, wish)| Happening::Wish(at, wish)),
        2 => at().prop_map(Happening::Demote),
        2 => at().prop_map(Happening::Remove),
        1 => Just(Happening::CutShort),
        1 => prop::sample::select(vec![1, 3, 4, 5]).prop_map(Happening::Want),
        10 => (0..50_u64).prop_map(Happening::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whatever_happens_it_keeps_its_promises_and_comes_to_rest(
        happenings in prop::collection::vec(happenings(), 1..60),
        all_return: bool,
    ) {
        let mut world = World::founded();
        for happening in &happenings {
            world.happen(happening);
        }
        if all_return {
            (0..world.nodes.len()).for_each(|at| world.set_alive(at, true));
            world.elect();
            prop_assert!(world.leader.is_some());
        }
        world.check_rest();
    }
}
