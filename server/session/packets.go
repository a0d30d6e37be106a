package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/capture"
	"kabel/server/packet"
	"kabel/server/packet/filter"
	"kabel/server/packet/journey"
)

// The codes of packets.
const (
	CodeNoPacket       Code = "no-such-packet" // or it is not kept any more
	CodeBadFilter      Code = "bad-filter"     // wraps a *filter.Error
	CodeTooManyRecords Code = "too-many-recordings"
)

// MaxRecordings is how many recordings of its packets a session may have under
// way: each has the kernel keep a ring for every namespace.
const MaxRecordings = 4

// MaxSnap is how many bytes of a packet a recording can keep.
const MaxSnap = host.MaxSnap

// Packets begins to look at the world's packets, see capture.Hub.View. It does not
// build a world that is not there: a page that lost its connection comes back by
// itself, also where nobody is. The caller closes what it gets. Codes:
// CodeNoSession, host.CodeNotFound.
func (s *Session) Packets(expression string, after uint64) (*PacketViewer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, &Problem{Code: CodeNoSession}
	}
	v, err := s.packets.View(expression, after, s.now)
	if err != nil {
		return nil, host.Errorf(host.CodeNotFound, "packets: %w", err)
	}
	s.looking++
	s.spend()
	return &PacketViewer{v, s}, nil
}

// PacketViewer is one who looks at a session's packets.
type PacketViewer struct {
	*capture.Viewer
	session *Session
}

// Close leaves.
func (v *PacketViewer) Close() {
	v.Viewer.Close()
	v.session.mu.Lock()
	defer v.session.mu.Unlock()
	v.session.looking--
	v.session.used()
}

// Packet is one packet at one place, by its number in the list. Codes: CodeNoPacket.
func (s *Session) Packet(no uint64) (*packet.Frame, time.Time, error) {
	f, started, ok := s.packets.Frame(no)
	if !ok {
		return nil, started, &Problem{Code: CodeNoPacket, Subject: strconv.FormatUint(no, 10)}
	}
	return f, started, nil
}

// Recording says which packets to record; empty fields ask for all.
type Recording struct {
	Node   topo.NodeID
	Link   string
	Filter string // in tcpdump's words
	Snap   int    // bytes of each packet; 0: as many as a capture can have
}

// Record begins to record. The caller calls end. Codes: CodeBadFilter,
// CodeTooManyRecords, CodeNoNode.
func (s *Session) Record(ctx context.Context, r Recording) (rec *capture.Recorder, end func(), err error) {
	w, err := s.reach(ctx)
	if err != nil {
		return nil, nil, err
	}
	if r.Node != "" {
		if err := s.checkNode(ctx, w, r.Node); err != nil {
			return nil, nil, err
		}
	}
	s.mu.Lock()
	if s.recording >= MaxRecordings {
		s.mu.Unlock()
		return nil, nil, &Problem{Code: CodeTooManyRecords, Subject: strconv.Itoa(MaxRecordings)}
	}
	s.recording++
	s.mu.Unlock()
	leave := s.Attend()
	done := func() {
		leave()
		s.mu.Lock()
		s.recording--
		s.mu.Unlock()
	}
	rec, err = capture.Record(ctx, w, host.CaptureRequest{Node: r.Node, Link: r.Link, Snap: r.Snap}, r.Filter)
	if err != nil {
		done()
		if bad, ok := errors.AsType[*filter.Error](err); ok {
			return nil, nil, &Problem{Code: CodeBadFilter, Subject: bad.Message, Err: bad}
		}
		return nil, nil, s.checkLost(w, err)
	}
	return rec, func() {
		if err := rec.Close(); err != nil {
			s.log.Warn("end a recording", "session", s.rec.ID, "err", err)
		}
		done()
	}, nil
}

// SaveKept writes the packets that are kept for the list, as they are. Codes:
// CodeBadFilter.
func (s *Session) SaveKept(to io.Writer, r Recording) error {
	which := capture.Kept{Node: r.Node, Link: r.Link}
	if r.Filter != "" {
		f, err := filter.Compile(r.Filter)
		if err != nil {
			return &Problem{Code: CodeBadFilter, Err: err}
		}
		which.Filter = f
	}
	return s.packets.Save(to, which)
}

const (
	// answerTime is how long the packets of an answered probe may be under way to us.
	answerTime = time.Second
	// silenceTime is the same for one without an answer, whose packets are looked
	// for all the same.
	silenceTime = 150 * time.Millisecond
)

// ProbeSeen is Probe, and tells the packets that it made: those that the asker sent
// to ask, and what answered them.
func (s *Session) ProbeSeen(ctx context.Context, p topo.Probe) (topo.ProbeResult, []capture.Row, error) {
	if _, err := s.reach(ctx); err != nil {
		return topo.ProbeResult{}, nil, err
	}
	s.mu.Lock()
	now := s.now
	s.mu.Unlock()
	release, err := s.packets.Hold(ctx, now)
	if err != nil {
		return topo.ProbeResult{}, nil, fmt.Errorf("capture a probe: %w", err)
	}
	defer release()
	since := time.Now()
	r, err := s.Probe(ctx, p)
	if err != nil {
		return r, nil, err
	}
	patience := silenceTime
	if r.OK {
		patience = answerTime
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	rows := s.packets.Rows(ctx, since, func(seen []*journey.Journey) bool {
		answered := 0
		for _, j := range seen {
			if asks(j, p) && j.AnsweredBy != 0 {
				answered++
			}
		}
		return r.OK && answered >= max(1, r.Received)
	}, func(seen []*journey.Journey) []*journey.Journey {
		its := map[uint64]bool{}
		for _, j := range seen {
			its[j.ID] = asks(j, p)
		}
		return slices.DeleteFunc(seen, func(j *journey.Journey) bool { return !its[j.ID] && !its[j.Answers] })
	})
	return r, rows, nil
}

// asks says whether a journey is one that a probe sends: from its node to its
// target, or to learn who has an address.
func asks(j *journey.Journey, p topo.Probe) bool {
	first := &j.Sightings[0]
	if first.Interface.Node != p.From || !first.Out && first.Interface.Link != "lo" {
		return false
	}
	f := j.Facts(first)
	switch f.Kind {
	case "arp-request", "neighbour-solicitation":
		return true
	case "arp-reply", "neighbour-advertisement", "echo-reply":
		return false
	}
	to, known := target(p)
	return !known || f.Dst == to
}

// target is the address that a probe sends to, if it says so.
func target(p topo.Probe) (netip.Addr, bool) {
	to := p.To
	switch p.Kind {
	case topo.ProbeHTTP:
		u, err := url.Parse(to)
		if err != nil {
			return netip.Addr{}, false
		}
		to = u.Hostname()
	case topo.ProbeDNS:
		_, to, _ = strings.Cut(to, "@")
	case topo.ProbeTCP, topo.ProbeUDP:
		if h, _, err := net.SplitHostPort(to); err == nil {
			to = h
		}
	}
	a, err := netip.ParseAddr(to)
	return a, err == nil
}

// --- checks that ask for packets

func needsPackets(step *labs.Step) bool {
	return step.Check.Packets() || slices.ContainsFunc(step.Hints, func(h labs.Hint) bool { return h.When != nil && h.When.Packets() })
}

// currentNeeds says whether the current step needs packets. The caller holds s.mu.
func (s *Session) currentNeeds() bool {
	i := slices.IndexFunc(s.plan().Steps, func(st labs.Step) bool { return !slices.Contains(s.rec.Done, st.ID) })
	return i >= 0 && needsPackets(&s.plan().Steps[i])
}

// holdPackets has packets captured as long as somebody is there and the current
// step's check asks for them. The caller holds s.mu.
func (s *Session) holdPackets() {
	need := s.watching != nil && s.currentNeeds()
	if need == (s.holds != nil) {
		return
	}
	if !need {
		s.holds()
		s.holds = nil
		return
	}
	ctx, cancel := context.WithCancel(s.reg.ctx)
	s.holds = cancel
	now := s.now
	s.reg.tasks.Go(func() {
		release, err := s.packets.Hold(ctx, now)
		if err != nil {
			if ctx.Err() == nil {
				s.log.Warn("capture for a check", "session", s.rec.ID, "err", err)
			}
			return
		}
		<-ctx.Done()
		release()
	})
}

// capturing makes sure that packets which an action sends are seen, if the
// current step asks for them. The caller calls release.
func (s *Session) capturing(ctx context.Context) (release func(), err error) {
	s.mu.Lock()
	need, now := s.currentNeeds(), s.now
	s.mu.Unlock()
	if !need {
		return func() {}, nil
	}
	if release, err = s.packets.Hold(ctx, now); err != nil {
		return nil, fmt.Errorf("capture for a check: %w", err)
	}
	return release, nil
}

// awaitPackets waits a moment for the packets of an action, if they may still
// fulfil the step that was the current one before it.
func (s *Session) awaitPackets(ctx context.Context, before string) {
	ctx, cancel := context.WithTimeout(ctx, 2*silenceTime)
	defer cancel()
	for {
		s.mu.Lock()
		over := !s.currentNeeds() || s.makeView().Current != before
		s.mu.Unlock()
		if over || !s.packets.Wait(ctx) {
			return
		}
	}
}

// packetsChanged judges again, if the current step asks for packets.
func (s *Session) packetsChanged() {
	s.mu.Lock()
	if s.ended || !s.currentNeeds() {
		s.mu.Unlock()
		return
	}
	s.judgeAndSave()
}

// retire is how long packets may wait in the kernel: lively while few look, and
// kind to the machine when many do, since each namespace of a world that is
// looked at has a timer.
func (r *Registry) retire() time.Duration {
	watched := 0
	for _, s := range r.all() {
		if s.packets.Capturing() {
			watched++
		}
	}
	if watched < 16 {
		return 5 * time.Millisecond
	}
	return host.DefaultRetire
}
