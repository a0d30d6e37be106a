package capture

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/packet"
	"kabel/server/packet/filter"
)

const (
	// maxFeeds bounds how many different filters are worked out at a time.
	maxFeeds = 16
	// batchRows bounds one batch, and waiting how many a viewer may be behind.
	batchRows = 1024
	waiting   = 8
	// keptBatches is how many a viewer that comes back may have missed.
	keptBatches = 64
)

// feed is the rows of one filter, for all viewers that have it.
type feed struct {
	filter  *filter.Filter // nil: everything passes
	viewers map[*Viewer]struct{}
	in      map[*row]struct{} // rows that passed
	dirty   map[*row]struct{} // those that changed since the last batch
	batches []batch           // the latest
	before  uint64            // the number of the last batch that is not kept
}

// batch is encoded once for all.
type batch struct {
	seq  uint64
	rows int
	json []byte // the rows, and the end of the message
	lost Lost
}

// offer lets f, a frame of w, through the filter.
func (f *feed) offer(w *row, frame *packet.Frame) {
	if _, ok := f.in[w]; ok || f.filter != nil && !f.filter.Match(frame.Data, frame.Interface.Hardware, frame.Out, frame.Length) {
		return
	}
	f.in[w] = struct{}{}
}

func (f *feed) touch(w *row) {
	if _, ok := f.in[w]; ok {
		f.dirty[w] = struct{}{}
	}
}

// restart forgets everything: a new capture has begun. The caller holds h.mu.
func (f *feed) restart(h *Hub) {
	f.in, f.dirty, f.batches, f.before = map[*row]struct{}{}, map[*row]struct{}{}, nil, h.seq
	for v := range f.viewers {
		v.queue = nil
		v.begin(false)
	}
}

// fill takes up the rows that are kept. The caller holds h.mu.
func (f *feed) fill(r *run) {
	for _, k := range r.frames {
		if r.rows[k.row.ID] == k.row {
			f.offer(k.row, k.Frame)
		}
	}
}

// flush makes batches of what has changed; an empty one, if asked, for the sake of
// the losses. The caller holds h.mu.
func (f *feed) flush(h *Hub, r *run, empty bool) {
	if len(f.dirty) == 0 && !empty {
		return
	}
	rows := slices.SortedFunc(maps.Keys(f.dirty), byID)
	clear(f.dirty)
	if len(rows) == 0 {
		f.send(h, batch{json: []byte("[]}"), lost: r.lost})
	}
	for part := range slices.Chunk(rows, batchRows) {
		f.send(h, batch{rows: len(part), json: encode(part, r.started), lost: r.lost})
	}
	// What the hub has forgotten the feed forgets too.
	if len(f.in) > 2*keptRows {
		maps.DeleteFunc(f.in, func(w *row, _ struct{}) bool { return r.rows[w.ID] != w })
	}
}

func (f *feed) send(h *Hub, b batch) {
	h.seq++
	b.seq = h.seq
	f.batches = append(f.batches, b)
	if len(f.batches) > keptBatches {
		f.before = f.batches[0].seq
		f.batches = slices.Delete(f.batches, 0, 1)
	}
	for v := range f.viewers {
		v.offer(b)
	}
}

func byID(a, b *row) int { return cmp.Compare(a.ID, b.ID) }

func encode(rows []*row, started time.Time) []byte {
	out := []byte{'['}
	for i, w := range rows {
		if w.encoded == nil {
			b, err := json.Marshal(w.wire(started))
			if err != nil {
				panic(err) // numbers and text can always be written
			}
			w.encoded = b
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, w.encoded...)
	}
	return append(out, "]}"...)
}

// Viewer is one who looks. One goroutine at a time calls Next.
type Viewer struct {
	hub    *Hub
	text   string // of the filter
	feed   *feed
	queue  []message
	wake   chan struct{}
	gap    int // row updates that were left out since the last batch
	missed uint64
	paused bool
	ended  bool
}

// message is one that waits: a batch, or another that is sent whole.
type message struct {
	batch *batch
	// sure batches are not left out: they are what the viewer asked for.
	sure bool
	text []byte
}

// Message is one message to a viewer, in two parts: the second is shared by all
// and must not be changed.
type Message struct{ Head, Tail []byte }

// View begins to look, with a filter in tcpdump's words (empty: everything). If
// after is the number of the last batch that a viewer with that filter got, and
// not too much has come since, it goes on there. now is the world's latest
// snapshot. The caller closes the Viewer. Errors: ErrNoWorld.
func (h *Hub) View(text string, after uint64, now topo.Snapshot) (*Viewer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := h.acquire(now); err != nil {
		return nil, err
	}
	v := &Viewer{hub: h, wake: make(chan struct{}, 1)}
	old := h.feeds[text]
	f, err := h.feedOf(text)
	if err != nil {
		v.put(message{text: filterError(err)})
		text = ""
		if f, err = h.feedOf(""); err != nil {
			h.release()
			return nil, err
		}
	}
	v.text, v.feed = text, f
	f.viewers[v] = struct{}{}
	if f == old && after != 0 && after >= f.before && after <= h.seq {
		v.begin(true)
		for _, b := range f.batches {
			if b.seq > after {
				v.put(message{batch: &b, sure: true})
			}
		}
	} else {
		v.begin(false)
		v.replay()
	}
	return v, nil
}

// Filter sets another filter; the list begins anew. One that can't be understood
// is answered by a message and changes nothing.
func (v *Viewer) Filter(text string) {
	h := v.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if v.ended || h.run == nil {
		return
	}
	f, err := h.feedOf(text)
	if err != nil {
		v.put(message{text: filterError(err)})
		return
	}
	v.leave()
	v.text, v.feed, v.queue, v.gap = text, f, nil, 0
	f.viewers[v] = struct{}{}
	v.begin(false)
	v.replay()
}

// Pause keeps batches back until Resume; they are left out and counted.
func (v *Viewer) Pause() {
	v.hub.mu.Lock()
	defer v.hub.mu.Unlock()
	if !v.paused {
		v.paused = true
		v.put(message{text: []byte(`{"type":"paused"}`)})
	}
}

// Resume ends a pause.
func (v *Viewer) Resume() {
	v.hub.mu.Lock()
	defer v.hub.mu.Unlock()
	v.paused = false
}

// Close leaves.
func (v *Viewer) Close() {
	v.hub.mu.Lock()
	defer v.hub.mu.Unlock()
	v.leave()
	v.hub.release()
}

// Next waits for a message. io.EOF: the last one has been.
func (v *Viewer) Next(ctx context.Context) (Message, error) {
	for {
		v.hub.mu.Lock()
		if len(v.queue) > 0 {
			m := v.queue[0]
			v.queue = slices.Delete(v.queue, 0, 1)
			out := v.compose(m)
			v.hub.mu.Unlock()
			return out, nil
		}
		ended := v.ended
		v.hub.mu.Unlock()
		if ended {
			return Message{}, io.EOF
		}
		select {
		case <-v.wake:
		case <-ctx.Done():
			return Message{}, ctx.Err()
		}
	}
}

// --- below: the caller holds hub.mu

func (h *Hub) feedOf(text string) (*feed, error) {
	if f := h.feeds[text]; f != nil {
		return f, nil
	}
	f := &feed{viewers: map[*Viewer]struct{}{}, in: map[*row]struct{}{}, dirty: map[*row]struct{}{}, before: h.seq}
	if text != "" {
		var err error
		if f.filter, err = filter.Compile(text); err != nil {
			return nil, err
		}
	}
	if len(h.feeds) >= maxFeeds {
		maps.DeleteFunc(h.feeds, func(_ string, f *feed) bool { return len(f.viewers) == 0 })
	}
	if len(h.feeds) >= maxFeeds {
		return nil, fmt.Errorf("there are %d other filters in use on these packets, which is all that is possible at a time", maxFeeds)
	}
	if h.run != nil {
		f.fill(h.run)
	}
	h.feeds[text] = f
	return f, nil
}

func filterError(err error) []byte {
	out := FilterError{Type: "filter-error", Message: err.Error()}
	if e, ok := errors.AsType[*filter.Error](err); ok {
		out.Position, out.Message, out.Suggestion = e.Position, e.Message, e.Suggestion
	}
	return mustJSON(out)
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers and text can always be written
	}
	return b
}

func (v *Viewer) leave() { delete(v.feed.viewers, v) }

func (v *Viewer) begin(resumed bool) {
	started := ""
	if v.hub.run != nil {
		started = v.hub.run.started.UTC().Format(time.RFC3339Nano)
	}
	v.put(message{text: mustJSON(Started{"start", started, v.text, host.DefaultSnap, resumed})})
}

// replay gives the latest of the rows that are kept.
func (v *Viewer) replay() {
	r := v.hub.run
	if r == nil {
		return
	}
	var rows []*row
	for _, w := range slices.Backward(r.order) {
		if _, ok := v.feed.in[w]; ok {
			if rows = append(rows, w); len(rows) == replayRows {
				break
			}
		}
	}
	slices.SortFunc(rows, byID)
	for part := range slices.Chunk(rows, batchRows) {
		v.put(message{batch: &batch{seq: v.hub.seq, rows: len(part), json: encode(part, r.started), lost: r.lost}, sure: true})
	}
}

// offer queues a batch; the oldest that waits gives way.
func (v *Viewer) offer(b batch) {
	if v.paused {
		v.gap += b.rows
		return
	}
	n := 0
	for _, m := range v.queue {
		if m.batch != nil && !m.sure {
			n++
		}
	}
	if n >= waiting {
		i := slices.IndexFunc(v.queue, func(m message) bool { return m.batch != nil && !m.sure })
		v.gap += v.queue[i].batch.rows
		v.missed += uint64(v.queue[i].batch.rows)
		v.queue = slices.Delete(v.queue, i, i+1)
	}
	v.put(message{batch: &b})
}

func (v *Viewer) put(m message) {
	v.queue = append(v.queue, m)
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// end tells a viewer that there is nothing more.
func (v *Viewer) end(reason string) {
	if v.ended {
		return
	}
	v.ended = true
	v.put(message{text: mustJSON(Ended{"ended", reason})})
}

func (v *Viewer) compose(m message) Message {
	if m.batch == nil {
		return Message{Head: m.text}
	}
	lost := m.batch.lost
	lost.Viewer = v.missed
	head := fmt.Appendf(nil, `{"type":"batch","seq":%d,"lost":%s,`, m.batch.seq, mustJSON(lost))
	if v.gap > 0 {
		head = fmt.Appendf(head, `"gap":%d,`, v.gap)
		v.gap = 0
	}
	return Message{Head: append(head, `"rows":`...), Tail: m.batch.json}
}
