package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/packet"
	"kabel/server/packet/filter"
)

// Recorder writes one capture of its own, apart from the hub's, as pcapng.
type Recorder struct {
	capture host.Capture
	snap    int
}

// Record opens a capture; the filter, in tcpdump's words, runs in the kernel. The
// caller closes the Recorder. Errors: *filter.Error, those of World.Capture.
func Record(ctx context.Context, w World, r host.CaptureRequest, expression string) (*Recorder, error) {
	if r.Snap == 0 {
		r.Snap = host.MaxSnap
	}
	if expression != "" {
		f, err := filter.Compile(expression)
		if err != nil {
			return nil, err
		}
		for _, i := range f.Program() {
			r.Filter = append(r.Filter, host.Instruction(i))
		}
	}
	c, err := w.Capture(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("open a capture: %w", err)
	}
	return &Recorder{c, r.Snap}, nil
}

// Close ends the capture and waits.
func (r *Recorder) Close() error { return r.capture.Close() }

// Write writes what is captured, flushed after each batch, until ctx or the world
// ends, which is no error.
func (r *Recorder) Write(ctx context.Context, to io.Writer, flush func() error) error {
	out := packet.NewPcapng(to, r.snap)
	if err := out.WriteHeader(); err != nil {
		return err
	}
	interfaces := map[uint32]packet.Interface{}
	var no, kernel, lost uint64
	for {
		if err := flush(); err != nil {
			return err
		}
		b, err := r.capture.Next(ctx)
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			// Said once more at the end, where a reader looks for it.
			return errors.Join(out.WriteDrops(time.Now(), kernel, lost), flush())
		}
		if err != nil {
			return err
		}
		for _, i := range b.Interfaces {
			interfaces[i.ID] = packet.Interface{Node: i.Node, Link: i.Link, Hardware: i.Hardware}
		}
		for _, rec := range b.Records {
			no++
			f := packet.Frame{No: no, Interface: interfaces[rec.Interface], Time: rec.Time, Out: rec.Out, Length: rec.Length, Data: rec.Data, Unfinished: rec.Unfinished}
			if err := out.WriteFrame(&f); err != nil {
				return err
			}
		}
		b.Release()
		if b.Kernel != kernel || b.Host != lost {
			kernel, lost = b.Kernel, b.Host
			if err := out.WriteDrops(time.Now(), kernel, lost); err != nil {
				return err
			}
		}
	}
}

// Kept says which of the packets that a hub keeps to write; empty fields: all.
type Kept struct {
	Node   topo.NodeID
	Link   string
	Filter *filter.Filter
}

// Save writes the packets that are kept, as a pcapng file, in the order of their
// times.
func (h *Hub) Save(to io.Writer, which Kept) error {
	h.mu.Lock()
	var frames []*packet.Frame
	var lost Lost
	if h.run != nil {
		lost = h.run.lost
		for _, k := range h.run.frames {
			i := k.Interface
			if (which.Node == "" || which.Node == i.Node) && (which.Link == "" || which.Link == i.Link) &&
				(which.Filter == nil || which.Filter.Match(k.Data, i.Hardware, k.Out, k.Length)) {
				frames = append(frames, k.Frame)
			}
		}
	}
	h.mu.Unlock()
	slices.SortStableFunc(frames, func(a, b *packet.Frame) int { return a.Time.Compare(b.Time) })
	out := packet.NewPcapng(to, host.DefaultSnap)
	if err := out.WriteHeader(); err != nil {
		return err
	}
	for _, f := range frames {
		if err := out.WriteFrame(f); err != nil {
			return err
		}
	}
	return out.WriteDrops(time.Now(), lost.Kernel, lost.Host)
}
