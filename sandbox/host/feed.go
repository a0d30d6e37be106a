package host

import (
	"context"
	"sync"

	"kabel/sandbox/topo"
)

// recentDiffs is how far behind a reader of a Feed may be before it gets a
// snapshot instead of what it missed.
const recentDiffs = 16

// Feed hands the snapshots of one world to its watchers. A watcher that is slow
// holds up neither the world nor another watcher. What a Feed hands out is
// shared: nobody may change it.
type Feed struct {
	mu     sync.Mutex
	now    topo.Snapshot
	recent []topo.Diff // the last of them leads to now
	pokes  map[chan struct{}]struct{}
	closed chan struct{}
}

// NewFeed starts at revision 1 with the nodes of a world that has just been made.
func NewFeed(nodes []topo.Node) *Feed {
	return feedFrom(topo.Snapshot{Revision: 1, Nodes: nodes})
}

func feedFrom(s topo.Snapshot) *Feed {
	return &Feed{now: s, pokes: map[chan struct{}]struct{}{}, closed: make(chan struct{})}
}

// Publish takes the nodes as they are now and returns the revision that shows
// them: the next one, or the present one where nothing differs.
func (f *Feed) Publish(nodes []topo.Node) topo.Rev {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.publish(nodes, f.now.Limits)
}

// PublishLimits takes all limits that the world has hit.
func (f *Feed) PublishLimits(hit []topo.LimitHit) topo.Rev {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.publish(f.now.Nodes, hit)
}

// publish goes on to the next revision if something differs. The caller holds f.mu.
func (f *Feed) publish(nodes []topo.Node, hit []topo.LimitHit) topo.Rev {
	next := topo.Snapshot{Revision: f.now.Revision + 1, Nodes: nodes, Limits: hit}
	diff := topo.Compare(f.now, next)
	if diff.Empty() {
		return f.now.Revision
	}
	f.advance(next, diff)
	return next.Revision
}

// advance goes on by one diff. The caller holds f.mu.
func (f *Feed) advance(next topo.Snapshot, diff topo.Diff) {
	if len(f.recent) == recentDiffs {
		f.recent = f.recent[1:]
	}
	f.recent = append(f.recent, diff)
	f.show(next)
}

func (f *Feed) show(next topo.Snapshot) {
	f.now = next
	for poke := range f.pokes {
		select {
		case poke <- struct{}{}:
		default: // it has not yet followed the last poke
		}
	}
}

// follow goes on by what another Feed sent, of which this one is a copy. It says
// whether that fitted; if not, an update was lost and a snapshot is needed. What
// is already known always fits.
func (f *Feed) follow(u topo.Update) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case u.Snapshot != nil:
		if u.Snapshot.Revision > f.now.Revision {
			f.recent = nil
			f.show(*u.Snapshot)
		}
	case u.Diff != nil && u.Diff.To > f.now.Revision:
		next, err := u.Diff.Apply(f.now)
		if err != nil {
			return false
		}
		f.advance(next, *u.Diff)
	}
	return true
}

// Now is the last snapshot that was published.
func (f *Feed) Now() topo.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Watch implements World.Watch.
func (f *Feed) Watch(ctx context.Context) <-chan topo.Update {
	out := make(chan topo.Update)
	poke := make(chan struct{}, 1)
	f.mu.Lock()
	f.pokes[poke] = struct{}{}
	f.mu.Unlock()
	go func() {
		defer close(out)
		defer func() {
			f.mu.Lock()
			delete(f.pokes, poke)
			f.mu.Unlock()
		}()
		var seen topo.Rev
		for {
			update, rev, news := f.after(seen)
			if !news {
				select {
				case <-poke:
					continue
				case <-ctx.Done():
					return
				case <-f.closed:
					return
				}
			}
			select {
			case out <- update:
				seen = rev
			case <-ctx.Done():
				return
			case <-f.closed:
				return
			}
		}
	}()
	return out
}

// after is what a reader that has seen the revision seen gets next.
func (f *Feed) after(seen topo.Rev) (u topo.Update, rev topo.Rev, news bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	behind := int(f.now.Revision - seen)
	switch {
	case behind == 0:
		return topo.Update{}, seen, false
	case seen == 0 || behind > len(f.recent):
		now := f.now
		return topo.Update{Snapshot: &now}, now.Revision, true
	}
	diff := f.recent[len(f.recent)-behind]
	return topo.Update{Diff: &diff}, diff.To, true
}

// Close ends all watches; the world is gone. It may be called once.
func (f *Feed) Close() { close(f.closed) }
