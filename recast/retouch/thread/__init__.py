"""Threads: a tree of edits in one folder, that can be branched, replayed, rebaked, pruned and handed on."""

from recast.retouch.thread.anchors import Anchors
from recast.retouch.thread.archive import import_thread
from recast.retouch.thread.node import Branch, Node
from recast.retouch.thread.tree import Thread

__all__ = ["Anchors", "Branch", "Node", "Thread", "import_thread"]
