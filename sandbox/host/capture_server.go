package host

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// maxCaptures bounds the captures of a world.
const maxCaptures = 16

// servedCapture is the host's end of a capture.
type servedCapture struct {
	name    string
	world   WorldID
	capture Capture
	publish func(frame []byte) error
	lease   *time.Timer
	ctx     context.Context // ends with it
	cancel  context.CancelFunc
	poke    chan struct{} // taken or asked has changed

	mu      sync.Mutex
	sent    uint64 // positions of the stream
	taken   uint64
	missing bool // the client wants all interfaces again
	asked   bool // the client wants a frame
}

// openCapture opens a capture and the goroutine that carries its packets. It ends
// with it, or when nobody has renewed its lease for long.
func (s *server) openCapture(ctx context.Context, w World, name string, r CaptureRequest) error {
	if !terminalName.MatchString(name) {
		return Errorf(CodeInvalid, "%q can't name a capture", name)
	}
	c := &servedCapture{name: name, world: w.ID(), poke: make(chan struct{}, 1),
		publish: func(frame []byte) error { return s.nc.Publish(captureSubject(name, false), frame) }}
	c.ctx, c.cancel = context.WithCancel(context.Background()) // it outlives the request
	if err := s.reserveCapture(c); err != nil {
		c.cancel()
		return err
	}
	forget := func() {
		c.cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.captures, name)
	}
	var err error
	if c.capture, err = w.Capture(ctx, r); err != nil {
		forget()
		return err
	}
	c.lease = time.AfterFunc(leaseTime, c.cancel)
	sub, err := s.nc.Subscribe(captureSubject(name, true), func(m *nats.Msg) { c.receive(m.Data) })
	if err != nil {
		c.lease.Stop()
		forget()
		return errors.Join(fmt.Errorf("capture: %w", err), c.capture.Close())
	}
	s.working.Go(func() {
		defer forget()
		defer c.lease.Stop()
		defer func() { _ = sub.Unsubscribe() }() // fails only where the connection is closed
		e := c.carry()
		if err := c.capture.Close(); err != nil && e.Error == nil {
			e.Error = toWire(err)
		}
		if b, err := json.Marshal(e); err == nil {
			_ = c.publish(append([]byte{frameEnd}, b...)) // if lost, so is what the client waits for
		}
	})
	return nil
}

func (s *server) reserveCapture(c *servedCapture) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, other := range s.captures {
		if other.world == c.world {
			n++
		}
	}
	switch {
	case s.closing:
		return Errorf(CodeUnavailable, "host %s is closing", s.id)
	case s.captures[c.name] != nil:
		return Errorf(CodeInvalid, "there is a capture %s", c.name)
	case n >= maxCaptures:
		return Errorf(CodeLimit, "world %s has %d captures", c.world, n)
	}
	s.captures[c.name] = c
	return nil
}

// receive takes a frame of the client. It does not block.
func (c *servedCapture) receive(frame []byte) {
	c.lease.Reset(leaseTime)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(frame) == takenSize && frame[0] == frameTaken:
		c.taken = max(c.taken, binary.BigEndian.Uint64(frame[1:]))
		flags := frame[takenSize-1]
		c.asked = c.asked || flags&wantsAnswer != 0
		c.missing = c.missing || flags&missingInterfaces != 0
	case len(frame) > 0 && frame[0] == frameEnd:
		c.cancel()
	}
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// carry sends what is captured, and says why there is no more.
func (c *servedCapture) carry() ending {
	batches := make(chan CaptureBatch)
	ended := make(chan error, 1)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer c.cancel()
	reading.Go(func() {
		for {
			b, err := c.capture.Next(c.ctx)
			if err != nil {
				ended <- err
				return
			}
			select {
			case batches <- b:
			case <-c.ctx.Done():
				ended <- c.ctx.Err()
				return
			}
		}
	})
	w := newCaptureWriter()
	for {
		var b CaptureBatch
		var err error
		select {
		case b = <-batches:
		case <-c.poke:
			if !c.wanted() {
				continue
			}
		case err = <-ended:
		}
		switch {
		case errors.Is(err, io.EOF):
			return ending{}
		case c.ctx.Err() != nil:
			return ending{Error: toWire(Errorf(CodeUnavailable, "the host has let the capture go"))}
		case err != nil:
			return ending{Error: toWire(err)}
		}
		err = c.send(w, b)
		b.Release()
		if err != nil {
			return ending{Error: toWire(err)}
		}
	}
}

// wanted says whether the client wants a frame, even one without packets.
func (c *servedCapture) wanted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked || c.missing
}

// send sends a batch in frames, and waits where the window is full.
func (c *servedCapture) send(w *captureWriter, b CaptureBatch) error {
	var gone []CaptureInterface // which are told after their last packets
	b.Interfaces = slices.DeleteFunc(b.Interfaces, func(i CaptureInterface) bool {
		if i.Gone {
			gone = append(gone, i)
		}
		return i.Gone
	})
	for first := true; first || len(b.Records)+len(b.Interfaces)+len(b.Flows)+len(gone) > 0; first = false {
		if len(b.Records)+len(b.Interfaces)+len(b.Flows) == 0 {
			b.Interfaces, gone = gone, nil
		}
		for {
			c.mu.Lock()
			c.sent = w.position
			under := c.sent - min(c.taken, c.sent)
			asked, missing := c.asked, c.missing
			c.asked, c.missing = false, false
			c.mu.Unlock()
			if missing {
				b.Interfaces = append(w.again(), b.Interfaces...)
			}
			if under+captureFrame <= captureWindow {
				break
			}
			if asked { // so that a loss of the whole window is noticed
				if err := c.publish(w.frame(&CaptureBatch{})); err != nil {
					return Errorf(CodeUnavailable, "capture: %w", err)
				}
			}
			select {
			case <-c.poke:
			case <-c.ctx.Done():
				return c.ctx.Err()
			}
		}
		if err := c.publish(w.frame(&b)); err != nil {
			return Errorf(CodeUnavailable, "capture: %w", err)
		}
	}
	return nil
}
