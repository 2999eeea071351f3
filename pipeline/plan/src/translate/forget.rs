//! `SET updating_ttl`, of what keeps rows that nothing would take back: joins, ranks and functions over ordered rows.

use super::{Query, bounds};
use chalk_graph::{Forget, JoinKind, JoinMode, NodeId, NodeKind};

impl Query<'_> {
    /// A node whose rows are taken back when they are old, if that is wanted and nothing else takes rows of it back.
    pub(super) fn forgetting(&mut self, input: NodeId) -> NodeId {
        let Some(kept) = self.ttl else { return input };
        if !self.append_only(input) || bounds::is_empty(&self.translator.graph, input) {
            return input;
        }
        if let Some(&node) = self.forgetting.get(&input) {
            return node;
        }
        let schema = self.schema(input);
        let node = self.add(NodeKind::Forget(Forget { kept }), vec![input], schema, false);
        self.forgetting.insert(input, node);
        node
    }

    /// The sides of a join, whose rows are forgotten if that is wanted. Pairs of rows that are only ever added are not taken back where each row is
    /// to be given once.
    pub(super) fn forgetting_join(
        &mut self,
        kind: JoinKind,
        left: NodeId,
        right: NodeId,
    ) -> (NodeId, NodeId, JoinMode) {
        let is_once = self.closing.is_some() && self.append_only(left) && self.append_only(right);
        let (left, right) = (self.forgetting(left), self.forgetting(right));
        let forgets = !(self.append_only(left) && self.append_only(right));
        let mode = if is_once && forgets && kind == JoinKind::Inner { JoinMode::Forgetting } else { JoinMode::Live };
        (left, right, mode)
    }
}
