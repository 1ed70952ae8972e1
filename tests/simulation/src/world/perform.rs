//! Carrying out what users do.

use chatlane_protocol::{Body, ConversationId, PrefsChange, Seq, UnixMillis, UserId};
use chatlane_session::{Act, Draft, Input};
use serde_json::json;

use super::gateway::{Owner, Stage};
use super::{Event, World};
use crate::script::{Operation, USERS};

impl World {
    /// Carries out one operation. Whether it had an effect.
    pub(crate) fn perform(&mut self, operation: &Operation) -> bool {
        match *operation {
            Operation::Connect { device } => {
                if self.phones[device].session.is_none() {
                    self.start(device);
                    true
                } else {
                    self.input(device, Input::Do(Act::ConnectNow))
                }
            }
            Operation::Open { device, with } => self.open_with(device, with),
            Operation::Compose { device, pick, messages, bytes } => self.compose(device, pick, messages, bytes).is_some(),
            Operation::MarkRead { device, pick, back, private } => self.mark_read(device, pick, back, private).is_some(),
            Operation::Prefer { device, pick, form } => self.prefer(device, pick, form).is_some(),
            Operation::Look { device, picks } => {
                let known = self.known(device).into_iter().enumerate();
                let conversations = known.filter(|(bit, _)| picks & (1 << (bit % 8)) != 0).map(|(_, lane)| lane).collect();
                self.input(device, Input::Do(Act::Look { conversations }))
            }
            Operation::History { device, pick } => self.scroll_up(device, pick).is_some(),
            Operation::Discard { device } => self.discard(device).is_some(),
            Operation::GoAway { device, kept, ms } => {
                let runs = self.phones[device].session.is_some();
                self.cut_all(device);
                self.kill(device, kept);
                self.at(ms, Event::Start { phone: device });
                runs
            }
            Operation::Restart { device, kept } => {
                let runs = self.phones[device].session.is_some();
                self.kill(device, kept);
                self.start(device);
                runs
            }
            Operation::Advance { ms } => {
                self.run_for(ms);
                true
            }
            Operation::Stranger { action, pick } => self.ask_as_stranger(action, pick),
            Operation::Bad { form } => self.ask_badly(form),
            Operation::Double { device } => self.double(device).is_some(),
            Operation::Flood => self.flood(),
            Operation::Restore { back_ms } => self.restore(back_ms),
            Operation::Invite { pick } => self.invite(pick),
            Operation::Create { by, users, all } => self.make_group(by, users, all),
            Operation::Change { by, pick, wish } => self.change_group(by, pick, wish),
            Operation::Ask { by, pick, action } => self.ask_for_group(by, pick, action),
            Operation::Amend { device, pick, back, deed } => self.amend_on(device, pick, back, deed).is_some(),
            Operation::AmendByHand { by, pick, back, deed } => self.amend_by_hand(by, pick, back, deed),
        }
    }

    /// Conversations that a device knows.
    pub(crate) fn known(&self, device: usize) -> Vec<ConversationId> {
        let session = self.phones[device].session.as_ref();
        session.map_or(vec![], |session| session.conversations().map(|row| row.conversation.clone()).collect())
    }

    pub(crate) fn one(&self, device: usize, pick: usize) -> Option<ConversationId> {
        let known = self.known(device);
        known.get(pick.checked_rem(known.len())?).cloned()
    }

    pub(crate) fn open_with(&mut self, device: usize, with: usize) -> bool {
        if self.phones[device].user.as_str() == USERS[with] || self.phones[device].session.is_none() {
            return false;
        }
        let (opening, user) = (self.phones[device].next_id("o"), UserId::new(USERS[with]).expect("a user"));
        // Some say their first word at once.
        let act = if self.dice.one_in(3) {
            let client_message_id = self.phones[device].next_id("m");
            let body = Body::text(format!("this is {client_message_id}")).expect("not empty");
            Act::ComposeTo { user, client_message_id, opening, body }
        } else {
            Act::OpenWith { user, client_message_id: opening }
        };
        self.input(device, Input::Do(act))
    }

    pub(crate) fn compose(&mut self, device: usize, pick: usize, messages: usize, bytes: usize) -> Option<()> {
        let conversation = self.one(device, pick)?;
        self.say(device, &conversation, messages, bytes);
        Some(())
    }

    /// Where the app runs.
    pub(crate) fn say(&mut self, device: usize, conversation: &ConversationId, messages: usize, bytes: usize) {
        for number in 0..messages {
            let client_message_id = self.phones[device].next_id("m");
            let mut text = format!("this is {client_message_id}");
            if number == 0 {
                text.extend(std::iter::repeat_n('x', bytes));
            }
            let body = Body::text(text).expect("not empty");
            // Some answer something that is there, or mention somebody.
            let reply_to =
                if self.dice.one_in(6) { self.seen(device, conversation).iter().rev().nth(self.dice.below(8)).copied() } else { None };
            let mentions =
                if self.dice.one_in(6) { vec![UserId::new(USERS[self.dice.below(USERS.len())]).expect("a user")] } else { vec![] };
            let draft = Draft::Message { body, reply_to: reply_to.map(|position| position.seq), mentions };
            self.input(device, Input::Do(Act::Compose { conversation: conversation.clone(), client_message_id, draft }));
        }
    }

    fn mark_read(&mut self, device: usize, pick: usize, back: usize, private: bool) -> Option<()> {
        let conversation = self.one(device, pick)?;
        let seen = self.seen(device, &conversation);
        let position = *seen.get(seen.len().checked_sub(1 + back)?)?;
        if !private {
            self.ever.let_know(&conversation, &self.phones[device].user, position);
        }
        self.input(device, Input::Do(Act::MarkRead { conversation, position, private })).then_some(())
    }

    fn prefer(&mut self, device: usize, pick: usize, form: usize) -> Option<()> {
        let conversation = self.one(device, pick)?;
        let none = PrefsChange::default();
        let wished = match form {
            0 => PrefsChange { muted_until_ms: Some(UnixMillis::ZERO.plus_ms(self.now_ms)), ..none },
            1 | 2 => PrefsChange { unread: Some(form == 1), ..none },
            3 | 4 => PrefsChange { pinned: Some(form == 3), mentions: Some(form == 4), ..none },
            _ => PrefsChange { archived: Some(true), ..none }, // and nobody takes it back
        };
        self.input(device, Input::Do(Act::Prefer { conversation, prefs: wished })).then_some(())
    }

    fn scroll_up(&mut self, device: usize, pick: usize) -> Option<()> {
        let conversation = self.one(device, pick)?;
        self.load_history(device, conversation)
    }

    /// Asks for what is before the device's run of a conversation.
    pub(crate) fn load_history(&mut self, device: usize, conversation: ConversationId) -> Option<()> {
        let row = self.phones[device].session.as_ref()?.conversations().find(|row| row.conversation == conversation)?;
        let before = Some(row.from.seq.next()).filter(|seq| *seq > Seq::FIRST);
        self.input(device, Input::Do(Act::LoadHistory { conversation, before })).then_some(())
    }

    fn discard(&mut self, device: usize) -> Option<()> {
        self.phones[device].session.as_ref()?;
        let (conversation, client_message_id) = self.phones[device].failed.pop_first()?;
        self.note(device, json!({"what": "given_up", "conversation": conversation, "id": client_message_id}));
        self.phones[device].discarded.insert(client_message_id.clone());
        self.input(device, Input::Do(Act::Discard { conversation, client_message_id })).then_some(())
    }

    fn cut_all(&mut self, device: usize) {
        let mine = |owner: Owner| matches!(owner, Owner::Phone { phone, .. } if phone == device);
        let open = self.sockets.iter().filter(|(_, socket)| mine(socket.owner) && socket.stage == Stage::Open);
        for socket in open.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.cut(socket);
        }
    }
}
