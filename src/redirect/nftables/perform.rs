//! The verbs of the back end: netlink in, netlink out.

use std::collections::HashMap;

use super::render::render;
use super::table;
use crate::redirect::backend::{Backend, Change, Uncarried, Verdict};
use crate::redirect::error::RedirectError;
use crate::redirect::plan::Plan;
use crate::sys::netlink::{NetlinkError, NetlinkSocket, Protocol};
use crate::sys::netns::Netns;

/// nf_tables, Linux 5.2 and newer (nat in family inet).
#[derive(Clone, Copy, Debug, Default)]
pub struct Nftables;

impl Backend for Nftables {
    fn name(&self) -> &'static str {
        "nf_tables"
    }

    fn apply(&self, netns: &Netns, plan: &Plan) -> Result<Change, RedirectError> {
        let fail = |source| error(netns, "read the table", source);
        let mut socket = NetlinkSocket::open_in(netns, Protocol::Netfilter).map_err(fail)?;
        let planned = render(plan);
        let found = table::read(&mut socket).map_err(fail)?;
        let (change, counts) = match &found {
            None => (Change::Laid, HashMap::new()),
            Some(found) if table::differences(&planned, Some(found)).is_empty() => return Ok(Change::None),
            Some(found) => (Change::Healed, found.counts()),
        };
        match table::write(&mut socket, &planned, &counts) {
            Ok(()) => Ok(change),
            Err(source) => Err(refused(netns, plan, source)),
        }
    }

    fn remove(&self, netns: &Netns) -> Result<bool, RedirectError> {
        let fail = |source| error(netns, "remove the table", source);
        let mut socket = NetlinkSocket::open_in(netns, Protocol::Netfilter).map_err(fail)?;
        table::remove(&mut socket).map_err(fail)
    }

    fn uncarried(&self, netns: &Netns) -> Result<Uncarried, RedirectError> {
        let fail = |source| error(netns, "read the counters", source);
        let mut socket = NetlinkSocket::open_in(netns, Protocol::Netfilter).map_err(fail)?;
        let mut uncarried = Uncarried::default();
        if let Some(found) = table::read(&mut socket).map_err(fail)? {
            for (name, count) in found.counts() {
                uncarried.add(&name, count);
            }
        }
        Ok(uncarried)
    }

    fn verify(&self, netns: &Netns, plan: &Plan) -> Result<Verdict, RedirectError> {
        let fail = |source| error(netns, "read the table", source);
        let mut socket = NetlinkSocket::open_in(netns, Protocol::Netfilter).map_err(fail)?;
        let found = table::read(&mut socket).map_err(fail)?;
        Ok(Verdict::of(table::differences(&render(plan), found.as_ref())))
    }

    fn withdraw(&self, netns: &Netns) -> Result<(), RedirectError> {
        let fail = |source| error(netns, "withdraw the redirects", source);
        let mut socket = NetlinkSocket::open_in(netns, Protocol::Netfilter).map_err(fail)?;
        table::withdraw(&mut socket).map_err(fail)
    }
}

fn error(netns: &Netns, doing: &'static str, source: NetlinkError) -> RedirectError {
    RedirectError::Kernel { doing, namespace: netns.path().to_owned(), source }
}

/// Names the feature behind the message that the kernel refused.
fn refused(netns: &Netns, plan: &Plan, source: NetlinkError) -> RedirectError {
    let NetlinkError::Refused { index, .. } = source else { return error(netns, "write the table", source) };
    // EPERM and the like are about us, not about a feature.
    let missing = matches!(source.errno(), Some(nix::libc::ENOENT | nix::libc::EOPNOTSUPP | nix::libc::EINVAL));
    match table::message(plan, index) {
        Some((what, feature)) if missing => {
            RedirectError::Feature { feature, namespace: netns.path().to_owned(), what, source }
        }
        _ => error(netns, "write the table", source),
    }
}
