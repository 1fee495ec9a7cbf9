"""Gather outputs of hosts as clush does: ClusterShell's MsgTree, folding included. usage: HOSTS LINES KIND"""

import sys

from ClusterShell.MsgTree import MsgTree
from ClusterShell.NodeSet import NodeSet
from gathering_outputs import outputs
from measure import Measure

given = [(name, text.encode().splitlines()) for name, text in outputs(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])]
with Measure() as measure:
    tree = MsgTree()
    for name, lines in given:
        for line in lines:
            tree.add(name, line)
    measure.extra["groups"] = len([(str(NodeSet.fromlist(names)), bytes(text)) for text, names in tree.walk()])
