//! The table in the kernel: writing it whole, reading it back, comparing.

use std::collections::HashMap;

use super::TABLE;
use super::expression::Expression;
use super::render::{BaseChain, Content, RenderedRule};
use crate::redirect::backend::{Count, Difference};
use crate::redirect::plan::{Action, ChainKind, Match, Plan, Rule};
use crate::sys::netlink::attribute::{Attributes, attribute, attribute_string, attribute_u32};
use crate::sys::netlink::netfilter::{Listing, Operation, Transaction, list};
use crate::sys::netlink::{NetlinkError, NetlinkSocket};

/// Attributes of linux/netfilter/nf_tables.h; a chain's, a rule's and a table's first is the table's name.
const TABLE_NAME: u16 = 1;
const TABLE_FLAGS: u16 = 2;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
/// The kind of user data that nft shows as a rule's comment.
const COMMENT: u8 = 0;

/// Replaces the whole table in one transaction. Counting rules begin at what `counts` says.
///
/// The table is added, deleted and added again: the first makes the second succeed when there is
/// none. New hooks are registered before old ones go, so live translations never lose theirs.
pub(super) fn write(
    socket: &mut NetlinkSocket,
    content: &Content,
    counts: &HashMap<String, Count>,
) -> Result<(), NetlinkError> {
    let table = || Attributes::new().string(TABLE_NAME, TABLE);
    let mut transaction = Transaction::new();
    transaction.push(Operation::AddTable, table());
    transaction.push(Operation::DeleteTable, table());
    transaction.push(Operation::AddTable, table().u32(TABLE_FLAGS, content.flags));
    for chain in &content.chains {
        let mut attributes = table().string(CHAIN_NAME, &chain.name);
        if let Some(hook) = chain.hook {
            let place = Attributes::new().u32(HOOK_NUMBER, hook).u32(HOOK_PRIORITY, chain.priority as u32);
            attributes = attributes.nested(CHAIN_HOOK, &place).u32(CHAIN_POLICY, chain.policy);
            attributes = attributes.string(CHAIN_TYPE, &chain.kind);
        }
        transaction.push(Operation::AddChain, attributes);
    }
    for chain in &content.chains {
        for rule in &chain.rules {
            let expressions = seeded(rule, counts);
            let attributes = table()
                .string(RULE_CHAIN, &chain.name)
                .nested(RULE_EXPRESSIONS, &Expression::encode_list(&expressions))
                .bytes(RULE_USERDATA, &comment(&rule.comment));
            transaction.push(Operation::AddRule, attributes);
        }
    }
    transaction.commit(socket, "writing the table culvert")
}

/// What message `index` of [`write()`] was about, and what the kernel needs for it.
pub(super) fn message(plan: &Plan, index: u32) -> Option<(String, &'static str)> {
    const BEFORE_CHAINS: usize = 3;
    let index = (index as usize).checked_sub(1)?;
    if index < BEFORE_CHAINS {
        return Some(("the table".to_owned(), "CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET"));
    }
    let index = index - BEFORE_CHAINS;
    if let Some(chain) = plan.chains.get(index) {
        let feature = match chain.kind {
            ChainKind::Filter | ChainKind::Raw | ChainKind::Route => "CONFIG_NF_TABLES_INET (type route: Linux 5.2)",
            ChainKind::Nat => "CONFIG_NFT_NAT and CONFIG_NF_NAT (family inet: Linux 5.2)",
        };
        return Some((format!("the chain {}", chain.name), feature));
    }
    let rule = plan.chains.iter().flat_map(|chain| &chain.rules).nth(index - plan.chains.len())?;
    Some((format!("the rule {}", rule.name), feature(rule)))
}

fn feature(rule: &Rule) -> &'static str {
    if rule.matches.iter().any(|one| matches!(one, Match::Cgroup(_))) {
        return "CONFIG_NFT_SOCKET with socket cgroupv2 (Linux 5.13)";
    }
    match rule.action {
        Action::Count => "CONFIG_NF_TABLES with counters",
        Action::MarkConnection(_) | Action::MarkPacket(_) => "CONFIG_NFT_CT and CONFIG_NF_CONNTRACK_MARK",
        Action::Redirect(_) => "CONFIG_NFT_REDIR",
        Action::Accept | Action::Return => "CONFIG_NF_TABLES",
        Action::Zone(_) => "CONFIG_NFT_CT and CONFIG_NF_CONNTRACK_ZONES",
    }
}

/// Removes the table. False when there was none.
pub(super) fn remove(socket: &mut NetlinkSocket) -> Result<bool, NetlinkError> {
    let mut transaction = Transaction::new();
    transaction.push(Operation::DeleteTable, Attributes::new().string(TABLE_NAME, TABLE));
    match absent_is_false(transaction.commit(socket, "deleting the table culvert")) {
        // A kernel without nf_tables holds no table.
        Err(error) if error.errno() == Some(nix::libc::EOPNOTSUPP) => Ok(false),
        answer => answer,
    }
}

/// Empties the nat chains in one transaction. The chains themselves hold the hooks by which live
/// connections are translated.
pub(super) fn withdraw(socket: &mut NetlinkSocket) -> Result<(), NetlinkError> {
    let Some(found) = read(socket)? else { return Ok(()) };
    let mut transaction = Transaction::new();
    for chain in found.chains.iter().filter(|chain| chain.kind == "nat") {
        let attributes = Attributes::new().string(TABLE_NAME, TABLE).string(RULE_CHAIN, &chain.name);
        transaction.push(Operation::DeleteRules, attributes);
    }
    // The table may have gone since it was read.
    absent_is_false(transaction.commit(socket, "withdrawing the redirects")).map(drop)
}

fn absent_is_false(answer: Result<(), NetlinkError>) -> Result<bool, NetlinkError> {
    match answer {
        Ok(()) => Ok(true),
        Err(error) if error.errno() == Some(nix::libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads the table. `None` when there is none.
pub(super) fn read(socket: &mut NetlinkSocket) -> Result<Option<Content>, NetlinkError> {
    let named = Attributes::new().string(TABLE_NAME, TABLE);
    let ours = |item: &Vec<u8>| attribute_string(item, TABLE_NAME).as_deref() == Some(TABLE);
    // A dump of tables takes no filter.
    let tables = list(socket, Listing::Tables, &Attributes::new())?;
    let Some(table) = tables.iter().find(|table| ours(table)) else { return Ok(None) };
    let mut content = Content { flags: attribute_u32(table, TABLE_FLAGS).unwrap_or(0), chains: Vec::new() };
    let chains = list(socket, Listing::Chains, &named)?;
    content.chains.extend(chains.iter().filter(|chain| ours(chain)).filter_map(|chain| read_chain(chain)));
    for rule in list(socket, Listing::Rules, &named)?.iter().filter(|rule| ours(rule)) {
        let chain = attribute_string(rule, RULE_CHAIN);
        if let Some(chain) = content.chains.iter_mut().find(|found| chain.as_ref() == Some(&found.name)) {
            chain.rules.push(read_rule(rule));
        }
    }
    Ok(Some(content))
}

fn read_chain(item: &[u8]) -> Option<BaseChain> {
    let hook = attribute(item, CHAIN_HOOK);
    Some(BaseChain {
        hook: hook.and_then(|hook| attribute_u32(hook, HOOK_NUMBER)),
        kind: attribute_string(item, CHAIN_TYPE).unwrap_or_default(),
        name: attribute_string(item, CHAIN_NAME)?,
        policy: attribute_u32(item, CHAIN_POLICY).unwrap_or(0),
        priority: hook.and_then(|hook| attribute_u32(hook, HOOK_PRIORITY)).unwrap_or(0) as i32,
        rules: Vec::new(),
    })
}

fn read_rule(item: &[u8]) -> RenderedRule {
    let userdata = attribute(item, RULE_USERDATA).unwrap_or_default();
    let expressions = Expression::decode_list(attribute(item, RULE_EXPRESSIONS).unwrap_or_default());
    RenderedRule { comment: read_comment(userdata).unwrap_or_default(), expressions }
}

/// User data as nft writes it: one byte of kind, one of length, the text and its NUL.
fn comment(text: &str) -> Vec<u8> {
    // The rules' names are constants far below 127 bytes.
    let length = (text.len() + 1).min(usize::from(u8::MAX)) as u8;
    let mut bytes = vec![COMMENT, length];
    bytes.extend(text.bytes().take(usize::from(length) - 1));
    bytes.push(0);
    bytes
}

fn read_comment(userdata: &[u8]) -> Option<String> {
    let (&[kind, length], rest) = userdata.split_first_chunk()?;
    let text = rest.get(..usize::from(length))?.strip_suffix(&[0])?;
    (kind == COMMENT).then(|| String::from_utf8_lossy(text).into_owned())
}

/// The rule's expressions with its counter where it was before.
fn seeded(rule: &RenderedRule, counts: &HashMap<String, Count>) -> Vec<Expression> {
    let mut expressions = rule.expressions.clone();
    if let Some(before) = counts.get(&rule.comment) {
        for expression in &mut expressions {
            if let Expression::Counter { bytes, packets } = expression {
                (*bytes, *packets) = (before.bytes, before.packets);
            }
        }
    }
    expressions
}

/// Compares what is planned with what was found, counts aside.
pub(super) fn differences(planned: &Content, found: Option<&Content>) -> Vec<Difference> {
    let Some(found) = found else { return vec![Difference::TableMissing] };
    let mut differences = Vec::new();
    if found.flags != planned.flags {
        differences.push(Difference::TableFlags { flags: found.flags });
    }
    for chain in &planned.chains {
        match found.chains.iter().find(|other| other.name == chain.name) {
            None => differences.push(Difference::ChainMissing { chain: chain.name.clone() }),
            Some(other) => compare(chain, other, &mut differences),
        }
    }
    let unknown = found.chains.iter().filter(|chain| !planned.chains.iter().any(|other| other.name == chain.name));
    differences.extend(unknown.map(|chain| Difference::ChainUnknown { chain: chain.name.clone() }));
    differences
}

fn compare(planned: &BaseChain, found: &BaseChain, differences: &mut Vec<Difference>) {
    let chain = planned.name.clone();
    let place = |chain: &BaseChain| (chain.hook, chain.kind.clone(), chain.policy, chain.priority);
    if place(planned) != place(found) {
        differences.push(Difference::ChainChanged { chain: chain.clone() });
    }
    if planned.rules.len() != found.rules.len() {
        let (found, planned) = (found.rules.len(), planned.rules.len());
        differences.push(Difference::RuleCount { chain: chain.clone(), found, planned });
    }
    for (at, (rule, other)) in planned.rules.iter().zip(&found.rules).enumerate() {
        if rule.expressions != other.uncounted().expressions || rule.comment != other.comment {
            let (position, rule) = (at + 1, rule.comment.clone());
            differences.push(Difference::RuleChanged { chain: chain.clone(), position, rule });
            // Those behind an inserted or deleted rule differ for no reason of their own.
            break;
        }
    }
}

// === impl Content ===

impl Content {
    /// What each rule has counted, by its comment; rules of one name are added up.
    pub(super) fn counts(&self) -> HashMap<String, Count> {
        let mut counts: HashMap<String, Count> = HashMap::new();
        for rule in self.chains.iter().flat_map(|chain| &chain.rules) {
            for expression in &rule.expressions {
                if let Expression::Counter { bytes, packets } = expression {
                    let count = Count { bytes: *bytes, packets: *packets };
                    counts.entry(rule.comment.clone()).or_default().add(count);
                }
            }
        }
        counts
    }
}

// === impl RenderedRule ===

impl RenderedRule {
    fn uncounted(&self) -> Self {
        let mut rule = self.clone();
        for expression in &mut rule.expressions {
            if let Expression::Counter { bytes, packets } = expression {
                (*bytes, *packets) = (0, 0);
            }
        }
        rule
    }
}

#[cfg(test)]
mod tests;
