package capture

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/packet"
	"kabel/server/packet/journey"
)

const (
	// flushEvery is the shortest time between two batches of rows, flushCrowd
	// where more than crowd viewers look.
	flushEvery = 20 * time.Millisecond
	flushCrowd = 50 * time.Millisecond
	crowd      = 50
	// expireEvery is how often it is looked for journeys that are over, and
	// tellEvery the shortest time between two calls of Options.Changed.
	expireEvery = 100 * time.Millisecond
	tellEvery   = 100 * time.Millisecond
	// linger is how long a capture stays open without a viewer, so that one who
	// lost the connection misses nothing.
	linger = 10 * time.Second

	// rate bounds the sightings a second that are shown, and twice it those at once. A
	// thousand viewers would be shown more than a machine can send, so that all
	// of them together are shown crowdRate at the most, each not less than leastRate.
	rate      = 4000
	crowdRate = 200_000
	leastRate = 200
	// keptRows and keptBytes bound what can be listed again and looked into.
	keptRows  = 3000
	keptBytes = 8 << 20
	// replayRows is how many of the kept rows a new viewer gets.
	replayRows = 1000
)

// Options of a Hub.
type Options struct {
	Log *slog.Logger
	// Retire is how long packets may wait in the kernel. Short is lively, but
	// each namespace's timer costs a little even when nothing moves.
	Retire func() time.Duration
	// Changed is called, from a goroutine of the hub's, after rows have changed.
	Changed func()
}

// Hub joins one session's packets and hands them to its viewers. The world may be
// another after a reset. It is safe for concurrent use.
type Hub struct {
	options Options
	tasks   sync.WaitGroup

	mu     sync.Mutex
	world  World // nil: there is none
	place  *place
	run    *run // nil: nothing is captured
	users  int  // viewers and others who need the capture
	idle   *time.Timer
	feeds  map[string]*feed
	seq    uint64
	closed bool
}

// NewHub makes a hub that captures nothing yet. Its owner calls Close.
func NewHub(o Options) *Hub {
	// Numbers go on rising when a server is started again, so that a viewer who
	// comes back to another process is known to have missed something.
	return &Hub{options: o, feeds: map[string]*feed{}, place: newPlace(topo.Snapshot{}), seq: uint64(time.Now().UnixMicro())}
}

// Use makes w the world that is captured; nil: none. Viewers begin anew.
func (h *Hub) Use(w World) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.world == w {
		return
	}
	h.world = w
	h.stop()
	if h.users > 0 {
		h.start()
	}
}

// See takes the world's latest snapshot, by which addresses and cables are known.
func (h *Hub) See(s topo.Snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run != nil {
		h.place = newPlace(s)
	}
}

// Close ends the capture and all viewers and waits.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	h.stop()
	if h.idle != nil {
		h.idle.Stop()
	}
	for _, f := range h.feeds {
		for v := range f.viewers {
			v.end("closed")
		}
	}
	h.mu.Unlock()
	h.tasks.Wait()
}

// Capturing says whether packets are being captured.
func (h *Hub) Capturing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.run != nil
}

// Hold keeps the capture open until release is called, and a little longer. It
// returns when packets that are sent from now on will be seen, or with why that
// can't be.
func (h *Hub) Hold(ctx context.Context, now topo.Snapshot) (release func(), err error) {
	h.mu.Lock()
	r, err := h.acquire(now)
	h.mu.Unlock()
	if err != nil {
		return nil, err
	}
	release = sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.release()
	})
	select {
	case <-r.open:
		if r.err != nil {
			release()
			return nil, r.err
		}
		return release, nil
	case <-ctx.Done():
		release()
		return nil, ctx.Err()
	}
}

// ErrNoWorld says that there is nothing to capture.
var ErrNoWorld = errors.New("there is no world to capture")

// --- below: the caller holds h.mu, where not said otherwise

func (h *Hub) acquire(now topo.Snapshot) (*run, error) {
	if h.closed || h.world == nil {
		return nil, ErrNoWorld
	}
	h.users++
	if h.run == nil {
		h.place = newPlace(now)
		h.start()
	}
	return h.run, nil
}

func (h *Hub) release() {
	h.users--
	if h.users > 0 || h.closed {
		return
	}
	if h.idle != nil {
		h.idle.Stop()
	}
	h.idle = time.AfterFunc(linger, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.users == 0 {
			h.stop()
			clear(h.feeds)
		}
	})
}

// run is one capture, from its opening to its end.
type run struct {
	cancel  context.CancelFunc
	started time.Time
	open    chan struct{} // closed when it stands, or err is set
	err     error

	tracker    *journey.Tracker
	interfaces map[uint32]packet.Interface
	no         uint64
	rows       map[uint64]*row
	order      []*row // the oldest first
	frames     []kept // the oldest first
	bytes      int
	tokens     float64
	filled     time.Time
	lost       Lost
	told       Lost // as in the last batch
	dirty      bool // rows have changed since
	changed    chan struct{}
}

// kept is a frame that can be looked into, and the row that it belongs to.
type kept struct {
	*packet.Frame
	row *row
}

// row is a journey that is shown.
type row struct {
	*journey.Journey
	summary packet.Summary
	length  int
	missed  uint64 // packets that the capture had lost when the row began
	unsure  bool
	encoded []byte // nil: it has changed since
}

func (h *Hub) start() {
	if h.world == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{cancel: cancel, started: time.Now(), open: make(chan struct{}), interfaces: map[uint32]packet.Interface{},
		rows: map[uint64]*row{}, tokens: 2 * rate, filled: time.Now(), changed: make(chan struct{})}
	r.tracker = journey.New(journey.Options{
		Local: func(n topo.NodeID, a netip.Addr) bool { return h.place.local(n, a) },
		Peer:  func(i packet.Interface) (packet.Interface, bool) { return h.place.peer(i) },
	})
	h.run = r
	for _, f := range h.feeds {
		f.restart(h)
	}
	w := h.world
	h.tasks.Go(func() { h.capture(ctx, w, r) })
}

func (h *Hub) stop() {
	if h.run != nil {
		h.run.cancel()
		h.run = nil
	}
}

// capture runs without h.mu, for as long as r is the hub's run.
func (h *Hub) capture(ctx context.Context, w World, r *run) {
	defer r.cancel()
	c, err := w.Capture(ctx, host.CaptureRequest{Retire: h.options.Retire()})
	if err != nil {
		r.err = err
	}
	close(r.open)
	if err != nil {
		h.fail(ctx, r, err)
		return
	}
	batches := make(chan host.CaptureBatch)
	var reading sync.WaitGroup
	var readErr error
	reading.Go(func() {
		defer close(batches)
		for {
			b, err := c.Next(ctx)
			if err != nil {
				readErr = err
				return
			}
			select {
			case batches <- b:
			case <-ctx.Done():
				return
			}
		}
	})
	defer func() {
		if err := c.Close(); err != nil {
			h.options.Log.Warn("close a capture", "err", err)
		}
		r.cancel()
		reading.Wait()
	}()
	expire := time.NewTicker(expireEvery)
	defer expire.Stop()
	var last, told time.Time
	var due <-chan time.Time // set while rows wait
	changed := false
	for {
		select {
		case b, ok := <-batches:
			if !ok {
				h.fail(ctx, r, readErr)
				return
			}
			h.mu.Lock()
			h.take(r, b)
			h.mu.Unlock()
		case now := <-expire.C:
			h.mu.Lock()
			h.settle(r, now)
			h.mu.Unlock()
		case <-due:
			due = nil
		case <-ctx.Done():
			return
		}
		switch wait := h.pace() - time.Since(last); {
		case due != nil:
		case wait > 0:
			due = time.After(wait)
		case h.flush(r):
			last, changed = time.Now(), true
		}
		if changed && time.Since(told) >= tellEvery {
			told, changed = time.Now(), false
			h.options.Changed()
		}
	}
}

// fail ends a run that ended by itself. Without h.mu.
func (h *Hub) fail(ctx context.Context, r *run, err error) {
	if ctx.Err() != nil {
		return // it was stopped
	}
	if err != nil && !errors.Is(err, io.EOF) {
		h.options.Log.Warn("capture", "err", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run != r {
		return
	}
	h.run = nil
	for _, f := range h.feeds {
		for v := range f.viewers {
			v.end("lost")
		}
	}
}

// take joins a batch to what is known.
func (h *Hub) take(r *run, b host.CaptureBatch) {
	if h.run != r {
		return // a reset came between
	}
	for _, i := range b.Interfaces {
		if i.Gone {
			delete(r.interfaces, i.ID)
			continue
		}
		r.interfaces[i.ID] = packet.Interface{Node: i.Node, Link: i.Link, Hardware: i.Hardware}
	}
	for _, f := range b.Flows {
		r.tracker.Flow(flow(f))
	}
	r.lost.Kernel, r.lost.Host = b.Kernel, b.Host
	now := time.Now()
	allowed := min(rate, max(leastRate, crowdRate/float64(max(1, h.viewers()))))
	r.tokens = min(2*allowed, r.tokens+allowed*now.Sub(r.filled).Seconds())
	r.filled = now
	for _, rec := range b.Records {
		r.no++
		f := &packet.Frame{No: r.no, Interface: r.interfaces[rec.Interface], Time: rec.Time, Out: rec.Out,
			Length: rec.Length, Data: rec.Data, Unfinished: rec.Unfinished}
		j, fresh := r.tracker.Add(f)
		shown := r.rows[j.ID]
		if fresh && r.tokens > 0 {
			shown = &row{Journey: j, missed: r.lost.Kernel + r.lost.Host}
			r.rows[j.ID] = shown
			r.order = append(r.order, shown)
		}
		if shown == nil {
			// Its journey was not let in, or is long over.
			r.lost.Hub++
			continue
		}
		r.tokens--
		// The packets of several namespaces come in any order: the row is told as
		// it was where it began.
		if len(j.Sightings) > 0 && j.Sightings[0].No == f.No {
			shown.summary, shown.length = packet.Summarise(f), f.Length
		}
		r.frames = append(r.frames, kept{f, shown})
		r.bytes += len(f.Data)
		for _, feed := range h.feeds {
			feed.offer(shown, f)
		}
		h.touch(r, shown)
	}
	h.settle(r, now)
	r.trim()
}

// settle takes up what has changed otherwise than by a sighting: an answer, the
// end of a journey, or that two turn out to be one.
func (h *Hub) settle(r *run, now time.Time) {
	for _, j := range r.tracker.Expire(now) {
		w := r.rows[j.ID]
		if w != nil && j.State == journey.Gone {
			w.unsure = r.lost.Kernel+r.lost.Host > w.missed
		}
		h.touch(r, w)
	}
}

// viewers is how many look.
func (h *Hub) viewers() (n int) {
	for _, f := range h.feeds {
		n += len(f.viewers)
	}
	return n
}

// pace is the time between two batches. Without h.mu.
func (h *Hub) pace() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.viewers() > crowd {
		return flushCrowd
	}
	return flushEvery
}

// trim forgets the oldest.
func (r *run) trim() {
	n := 0
	for r.bytes > keptBytes {
		r.bytes -= len(r.frames[n].Data)
		n++
	}
	r.frames = slices.Delete(r.frames, 0, n)
	if over := len(r.order) - keptRows; over > keptRows/10 { // not one by one
		for _, old := range r.order[:over] {
			delete(r.rows, old.ID)
		}
		r.order = slices.Delete(r.order, 0, over)
	}
}

// touch notes that a row, if it is one, has changed.
func (h *Hub) touch(r *run, w *row) {
	if w == nil {
		return
	}
	w.encoded = nil
	r.dirty = true
	for _, f := range h.feeds {
		f.touch(w)
	}
}

// flush sends what has changed and says whether anything had. Without h.mu.
func (h *Hub) flush(r *run) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run != r {
		return false
	}
	if !r.dirty && r.lost == r.told {
		return false
	}
	for _, f := range h.feeds {
		f.flush(h, r, r.lost != r.told)
	}
	r.told, r.dirty = r.lost, false
	close(r.changed)
	r.changed = make(chan struct{})
	return true
}

// --- what others than viewers ask; without h.mu

// Frame is a packet at one place, by its number, as long as it is kept.
func (h *Hub) Frame(no uint64) (f *packet.Frame, started time.Time, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == nil {
		return nil, started, false
	}
	i, ok := slices.BinarySearchFunc(h.run.frames, no, func(f kept, no uint64) int { return cmp.Compare(f.No, no) })
	if !ok {
		return nil, started, false
	}
	return h.run.frames[i].Frame, h.run.started, true
}

// Sightings lists what was seen since a time, in the order of arrival, some
// thousand at the most, the latest.
func (h *Hub) Sightings(since time.Time) []topo.Sighting {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == nil {
		return nil
	}
	type numbered struct {
		no uint64
		topo.Sighting
	}
	var seen []numbered
	for _, w := range slices.Backward(h.run.order) {
		if last := len(w.Sightings) - 1; last < 0 || w.Sightings[last].Time.Before(since) {
			continue
		}
		for i := range w.Sightings {
			if s := &w.Sightings[i]; !s.Time.Before(since) {
				seen = append(seen, numbered{s.No, w.Facts(s)})
			}
		}
		if len(seen) >= 1000 {
			break
		}
	}
	slices.SortFunc(seen, func(a, b numbered) int { return cmp.Compare(a.no, b.no) })
	out := make([]topo.Sighting, len(seen))
	for i, s := range seen {
		out[i] = s.Sighting
	}
	return out
}

// Rows waits until enough says that the journeys which it is shown, those that
// began since a time, are all, or until ctx ends, and returns those of them that
// choose picks.
func (h *Hub) Rows(ctx context.Context, since time.Time, enough func([]*journey.Journey) bool, choose func([]*journey.Journey) []*journey.Journey) []Row {
	for {
		h.mu.Lock()
		if h.run == nil {
			h.mu.Unlock()
			return nil
		}
		r := h.run
		var found []*journey.Journey
		for _, w := range r.order {
			if w.Into == 0 && !w.Started.Before(since) {
				found = append(found, w.Journey)
			}
		}
		if enough(found) || ctx.Err() != nil {
			rows := []Row{}
			for _, j := range choose(found) {
				rows = append(rows, r.rows[j.ID].wire(r.started))
			}
			h.mu.Unlock()
			return rows
		}
		changed := r.changed
		h.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// Wait waits until rows have changed and says that they have, and not that ctx or
// the capture has ended.
func (h *Hub) Wait(ctx context.Context) bool {
	h.mu.Lock()
	if h.run == nil {
		h.mu.Unlock()
		return false
	}
	changed := h.run.changed
	h.mu.Unlock()
	select {
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	}
}

// wire is the row as viewers get it.
func (w *row) wire(started time.Time) Row {
	out := Row{ID: w.ID, At: micros(w.Started.Sub(started)), Protocol: w.summary.Protocol, Source: w.summary.Source, Destination: w.summary.Destination,
		Info: w.summary.Info, Length: w.length, State: w.State, Answers: w.Answers, AnsweredBy: w.AnsweredBy, Into: w.Into, Sightings: make([]Sighting, len(w.Sightings))}
	if w.unsure && w.State == journey.Gone {
		out.State = unsure
	}
	for i, s := range w.Sightings {
		o := Sighting{No: s.No, Node: s.Interface.Node, Link: s.Interface.Link, Out: s.Out, At: micros(s.Time.Sub(started)), Length: s.Length, After: s.After}
		for _, c := range s.Changes {
			o.Changes = append(o.Changes, Change(c))
		}
		out.Sightings[i] = o
	}
	return out
}

// flow is what conntrack told, in the tracker's words.
func flow(f host.Flow) journey.Flow {
	return journey.Flow{Protocol: f.Protocol, Original: journey.Tuple(f.Original), Reply: journey.Tuple(f.Reply), Gone: f.Gone}
}
