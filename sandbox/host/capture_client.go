package host

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// remoteCapture is the client's end of a capture.
type remoteCapture struct {
	c     *Client
	name  string
	queue *CaptureQueue
	close context.CancelFunc
	done  chan struct{} // its goroutine has ended

	mu           sync.Mutex
	heard        time.Time
	known        map[uint32]bool // interfaces
	got          uint64          // position of the stream
	taken        uint64          // of it by the reader
	told         uint64          // of it to the host
	records      uint64
	kernel, host uint64 // drops that the host has told of
	end          error
}

// Capture implements World.
func (w *remote) Capture(ctx context.Context, r CaptureRequest) (Capture, error) {
	r, err := r.Normal()
	if err != nil {
		return nil, err
	}
	t := &remoteCapture{c: w.c, name: nats.NewInbox()[len(nats.InboxPrefix):], queue: NewCaptureQueue(),
		done: make(chan struct{}), heard: time.Now(), known: map[uint32]bool{}}
	kept, closed := context.WithCancel(context.Background()) // it outlives the opening
	t.close = closed
	// Before it is opened, so that nothing is missed.
	sub, err := w.c.nc.Subscribe(captureSubject(t.name, false), func(m *nats.Msg) { t.receive(m.Data) })
	if err != nil {
		closed()
		return nil, Errorf(CodeUnavailable, "capture: %w", err)
	}
	if _, err = w.c.call(ctx, verbCapture, request{World: w.id, Capture: &r, Lease: t.name}); err == nil {
		if w.c.begin(func() { t.keep(kept, sub) }) {
			return t, nil
		}
		err = Errorf(CodeUnavailable, "the client of host %s is closed", w.c.id)
	}
	closed()
	t.publish([]byte{frameEnd}) // it may have been opened all the same
	_ = sub.Unsubscribe()       // fails only where the connection is closed
	return nil, err
}

// publish sends a frame; the next state makes good what is lost.
func (t *remoteCapture) publish(frame []byte) {
	_ = t.c.nc.Publish(captureSubject(t.name, true), frame)
}

// receive takes a frame. It does not block.
func (t *remoteCapture) receive(frame []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = time.Now()
	if len(frame) > 0 && frame[0] == frameEnd {
		var e ending
		if err := json.Unmarshal(frame[1:], &e); err != nil {
			t.stop(Errorf(CodeInternal, "the end of a capture: %w", err))
		} else if e.Error != nil {
			t.stop(e.Error.err())
		} else {
			t.stop(io.EOF)
		}
		return
	}
	b, err := readBatch(frame)
	if err != nil {
		t.stop(Errorf(CodeInternal, "capture: %w", err))
		return
	}
	if b.position < t.got {
		return // it has come already
	}
	flags := byte(0)
	lost := b.records - min(b.records, t.records)
	if b.position > t.got {
		flags |= missingInterfaces
	}
	t.got = b.position + uint64(len(frame))
	t.records = b.records + uint64(len(b.Records))
	for _, i := range b.Interfaces {
		t.known[i.ID] = true
	}
	explained := b.Records[:0]
	for _, r := range b.Records {
		if t.known[r.Interface] {
			explained = append(explained, r)
		} else {
			lost++
			flags |= missingInterfaces
		}
	}
	for _, i := range b.Interfaces {
		if i.Gone {
			delete(t.known, i.ID)
		}
	}
	b.Records = explained
	kernel, host := max(b.Kernel, t.kernel), max(b.Host, t.host)
	b.Kernel, b.Host = kernel-t.kernel, host-t.host+lost
	t.kernel, t.host = kernel, host
	t.queue.put(b.CaptureBatch, t.got)
	if flags != 0 {
		t.tell(flags)
	}
}

// tell sends what was taken. The caller holds t.mu.
func (t *remoteCapture) tell(flags byte) {
	t.told = t.taken
	t.publish(takenFrame(t.taken, flags))
}

// stop ends the capture at this end; the first reason counts. The caller holds
// t.mu.
func (t *remoteCapture) stop(why error) {
	if t.end == nil {
		t.end = why
	}
	t.queue.End()
}

func (t *remoteCapture) lose(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stop(why)
}

// keep renews the lease until the capture has ended or is closed.
func (t *remoteCapture) keep(ctx context.Context, sub *nats.Subscription) {
	defer close(t.done)
	defer func() { _ = sub.Unsubscribe() }() // fails only where the connection is closed
	defer t.publish([]byte{frameEnd})        // to no one, if it has ended
	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	for {
		t.c.mu.Lock()
		alive := t.c.alive
		t.c.mu.Unlock()
		select {
		case <-renew.C:
			if t.renew() {
				return
			}
		case <-alive.Done():
			t.lose(Errorf(CodeUnavailable, "capture: %w", errSilent))
			return
		case <-t.c.ctx.Done():
			t.lose(Errorf(CodeUnavailable, "the client of host %s is closed", t.c.id))
			return
		case <-ctx.Done():
			t.lose(io.EOF)
			return
		}
	}
}

func (t *remoteCapture) renew() (ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.heard) > leaseTime {
		t.stop(Errorf(CodeUnavailable, "host %s does not know the capture any more", t.c.id))
	}
	if t.end == nil {
		t.tell(wantsAnswer)
	}
	return t.end != nil
}

// Next implements Capture.
func (t *remoteCapture) Next(ctx context.Context) (CaptureBatch, error) {
	for {
		b, err := t.queue.next(ctx)
		t.mu.Lock()
		switch {
		case err == nil:
			t.taken = max(t.taken, b.position)
			if t.taken-t.told >= captureWindow/4 {
				t.tell(0)
			}
		case errors.Is(err, io.EOF):
			err = t.end
		}
		t.mu.Unlock()
		if err != nil || len(b.Records)+len(b.Interfaces)+len(b.Flows) > 0 {
			return b.CaptureBatch, err
		}
		// It was only the state, which counts as taken.
	}
}

// Close implements Capture.
func (t *remoteCapture) Close() error {
	t.close()
	<-t.done
	return nil
}
