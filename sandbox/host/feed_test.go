package host

import (
	"testing"

	"kabel/sandbox/topo"
)

// What a world is and which limits it has hit are told apart, and neither hides
// the other.
func TestLimitsThatWereHitReachWatchers(t *testing.T) {
	f := NewFeed([]topo.Node{{ID: "host1"}})
	defer f.Close()
	updates := f.Watch(t.Context())
	seen := *(<-updates).Snapshot
	hit := []topo.LimitHit{{Kind: topo.LimitMemory, Bound: 192, Hits: 1}}
	for _, step := range []struct {
		what    string
		publish func() topo.Rev
		want    topo.Snapshot
	}{
		{"a limit", func() topo.Rev { return f.PublishLimits(hit) }, topo.Snapshot{Revision: 2, Nodes: seen.Nodes, Limits: hit}},
		{"a node after it", func() topo.Rev { return f.Publish([]topo.Node{{ID: "host2"}}) }, topo.Snapshot{Revision: 3, Nodes: []topo.Node{{ID: "host2"}}, Limits: hit}},
		{"no more limits", func() topo.Rev { return f.PublishLimits(nil) }, topo.Snapshot{Revision: 4, Nodes: []topo.Node{{ID: "host2"}}}},
	} {
		if rev := step.publish(); rev != step.want.Revision {
			t.Errorf("%s: revision %d", step.what, rev)
		}
		var err error
		if seen, err = (<-updates).Diff.Apply(seen); err != nil || !seen.Equal(step.want) {
			t.Errorf("%s: %+v, %v; want %+v", step.what, seen, err, step.want)
		}
	}
	if rev := f.PublishLimits([]topo.LimitHit{}); rev != 4 {
		t.Errorf("the same limits are revision %d", rev)
	}
}
