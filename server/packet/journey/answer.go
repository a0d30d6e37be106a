package journey

// questions are the journeys that wait for answers of one key, oldest first.
type questions struct {
	key         uint64
	first, last *Journey
}

// waiting is a journey's place in questions.
type waiting struct {
	in         *questions
	prev, next *Journey
}

// maxAsked bounds how many questions an answer is compared with.
const maxAsked = 32

// maxUnacked bounds the segments of one direction that wait.
const maxUnacked = 4096

// key is what a question and its answer have in common. Only the words of UDP
// tell nothing: there it is the direction of the question.
func (k kind) key(c *conversation, turned bool, answers uint64) uint64 {
	switch k {
	case kindARPRequest, kindARPReply:
		return mix(1, c.id)
	case kindEcho, kindEchoReply:
		return mix(mix(2, c.id), answers)
	case kindSolicitation, kindAdvertisement:
		return mix(3, answers)
	case kindDNSQuery, kindDNSAnswer:
		return mix(mix(4, c.id), answers)
	case kindDHCPRequest, kindDHCPReply:
		return mix(5, answers)
	}
	if turned {
		return mix(6, c.id)
	}
	return mix(7, c.id)
}

// relate looks whether the new journey j answers another, and remembers it if it
// asks for an answer itself.
func (t *Tracker) relate(j *Journey, l *look, c *conversation, turned bool) {
	j.answers = l.answers
	switch l.kind {
	case kindARPRequest, kindEcho, kindSolicitation, kindDNSQuery, kindDHCPRequest:
		t.ask(j, c, turned)
	case kindARPReply, kindEchoReply, kindAdvertisement, kindDNSAnswer, kindDHCPReply:
		t.reply(j, c, turned)
	case kindUDP:
		if q := t.asked[kindUDP.key(c, !turned, 0)]; q != nil && l.tuple != l.tuple.reverse() {
			if x := q.pickUDP(j); x != nil {
				t.answered(x, j)
				return
			}
		}
		t.ask(j, c, turned)
	case kindError:
		t.complain(j, c)
	case kindTCP:
		t.acknowledge(j, l, c, turned)
	}
}

// reply finds the question that j answers, or keeps j for one that comes late.
func (t *Tracker) reply(j *Journey, c *conversation, turned bool) {
	key := j.kind.key(c, turned, j.answers)
	if q := t.asked[key]; q != nil {
		if x := q.pick(j); x != nil {
			t.answered(x, j)
			return
		}
	}
	j.promised = key
	t.early[key] = j
}

// ask makes j wait for its answer, unless that has come before it: from another
// namespace whose frames were handed over first.
func (t *Tracker) ask(j *Journey, c *conversation, turned bool) {
	key := j.kind.key(c, turned, j.answers)
	if a := t.early[key]; a != nil && j.kind != kindUDP && !a.Started.Before(j.Started) {
		a.promised = 0
		delete(t.early, key)
		t.answered(j, a)
		return
	}
	q := t.asked[key]
	if q == nil {
		q = &questions{key: key}
		t.asked[key] = q
	}
	j.waiting = waiting{in: q, prev: q.last}
	if q.last != nil {
		q.last.waiting.next = j
	} else {
		q.first = j
	}
	q.last = j
}

// stopWaiting takes j out of what waits for answers or questions.
func (t *Tracker) stopWaiting(j *Journey) {
	if j.promised != 0 {
		if t.early[j.promised] == j {
			delete(t.early, j.promised)
		}
		j.promised = 0
	}
	w := j.waiting
	if w.in == nil {
		return
	}
	if w.prev != nil {
		w.prev.waiting.next = w.next
	} else {
		w.in.first = w.next
	}
	if w.next != nil {
		w.next.waiting.prev = w.prev
	} else {
		w.in.last = w.prev
	}
	if w.in.first == nil {
		delete(t.asked, w.in.key)
	}
	j.waiting = waiting{}
}

// pick is the question that a answers: the oldest, but one that is known to have
// got there before one that isn't.
func (q *questions) pick(a *Journey) *Journey {
	var first *Journey
	n := 0
	for x := q.first; x != nil && n < maxAsked; x, n = x.waiting.next, n+1 {
		if x.Started.After(a.Started) {
			break
		}
		if x.State == Delivered {
			return x
		}
		if first == nil {
			first = x
		}
	}
	return first
}

// pickUDP is the same where nothing but the conversation ties the two together:
// the oldest datagram that said the same (an echo), or else the latest.
func (q *questions) pickUDP(a *Journey) *Journey {
	n := 0
	for x := q.first; x != nil && n < maxAsked; x, n = x.waiting.next, n+1 {
		if x.answers == a.answers && !x.Started.After(a.Started) && x.State == Delivered {
			return x
		}
	}
	var last *Journey
	n = 0
	for x := q.last; x != nil && n < maxAsked; x, n = x.waiting.prev, n+1 {
		switch {
		case x.Started.After(a.Started):
		case x.State == Delivered:
			return x
		case last == nil:
			last = x
		}
	}
	return last
}

// answered notes that a answers q.
func (t *Tracker) answered(q, a *Journey) {
	t.stopWaiting(q)
	q.State = Answered
	q.AnsweredBy, q.answer = a.ID, a
	a.Answers, a.question = q.ID, q
	t.mark(q)
	t.mark(a)
}

// complain finds the journey that the ICMP error j quotes: the latest that it can
// be. Its state stays, and so does an answer that it has got.
func (t *Tracker) complain(j *Journey, c *conversation) {
	n := 0
	for e := c.final; e != nil && n < maxAsked; e, n = e.prev, n+1 {
		q := e.journey
		if q == j || q.kind == kindError || q.ident != j.answers || q.Started.After(j.Started) {
			continue
		}
		j.Answers, j.question = q.ID, q
		if q.State != Answered {
			q.AnsweredBy, q.answer = j.ID, j
			t.mark(q)
		}
		return
	}
}

// segments are the TCP segments of one direction that wait to be acknowledged,
// oldest first.
type segments struct {
	list []*Journey
}

func (s *segments) add(j *Journey) {
	s.clean()
	if len(s.list) >= maxUnacked {
		s.pop(1)
	}
	s.list = append(s.list, j)
}

// clean forgets what has been closed.
func (s *segments) clean() {
	n := 0
	for n < len(s.list) && s.list[n].closed {
		n++
	}
	s.pop(n)
}

// pop removes the first n.
func (s *segments) pop(n int) {
	clear(s.list[:n])
	if s.list = s.list[n:]; len(s.list) == 0 {
		s.list = nil
	}
}

func (s *segments) take(o *segments) {
	s.list = append(s.list, o.list...)
	o.list = nil
}

// acknowledge finds what the segment j acknowledges, and remembers what it says
// itself. Source: RFC 9293, section 3.4.
func (t *Tracker) acknowledge(j *Journey, l *look, c *conversation, turned bool) {
	h := &l.stack[len(l.stack)-1]
	way := 0
	if turned {
		way = 1
	}
	said := uint32(h.Length)
	if h.Flags&flagSYN != 0 {
		said++
	}
	if h.Flags&flagFIN != 0 {
		said++
	}
	if other := &c.unacked[1-way]; h.Flags&flagACK != 0 && len(other.list) > 0 {
		other.clean()
		n := 0
		for n < len(other.list) && int32(h.Ack-other.list[n].end) >= 0 && !other.list[n].Started.After(j.Started) {
			n++
		}
		for i, q := range other.list[:n] {
			if q.closed || q.State != Delivered && repeated(q, other.list[i+1:n]) {
				continue
			}
			t.answered(q, j)
		}
		other.pop(n)
	}
	if said > 0 {
		j.end = h.Seq + said
		c.unacked[way].add(j)
	}
}

// repeated says that q was lost: one of its retransmissions got there.
func repeated(q *Journey, others []*Journey) bool {
	for _, x := range others[:min(len(others), maxAsked)] {
		if x.end == q.end && x.State == Delivered {
			return true
		}
	}
	return false
}

// inherit gives to a what the journey b, which is part of it, had to do with
// others.
func (t *Tracker) inherit(a, b *Journey) {
	if x := b.answer; x != nil {
		if a.answer == nil || a.answer.kind == kindError && x.kind != kindError {
			a.AnsweredBy, a.answer = b.AnsweredBy, x
		}
		if x.question == b {
			x.Answers, x.question = a.ID, a
			t.mark(x)
		}
	}
	if x := b.question; x != nil {
		if a.question == nil {
			a.Answers, a.question = b.Answers, x
		}
		if x.answer == b {
			x.AnsweredBy, x.answer = a.ID, a
			t.mark(x)
		}
	}
	if a.State == Answered {
		t.stopWaiting(a)
	}
}
