package session

import (
	"context"
	"strings"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

const (
	// maxHistory is how many bytes of a machine's shell history outlive its world.
	maxHistory = 16 << 10
	// historyTimeout bounds one reading or writing: the file is the learner's,
	// and may be anything.
	historyTimeout = time.Second
)

// gatherHistory takes what was typed at shells out of a world that is about to
// go. It is the learner's own and goes nowhere but into their next world; what
// can't be read is not worth an error.
func (s *Session) gatherHistory(ctx context.Context, w host.World) {
	s.mu.Lock()
	var machines []topo.NodeID
	for m := range s.shells {
		machines = append(machines, m)
	}
	s.mu.Unlock()
	for _, m := range machines {
		// The first of the last bytes may be of a command that was cut.
		r, err := w.Exec(ctx, host.ExecRequest{Node: m, Timeout: historyTimeout,
			Argv: []string{"sh", "-c", "test -f ~/.bash_history && tail -n 500 ~/.bash_history | tail -c 16384"}})
		if err != nil || r.ExitCode != 0 || r.TimedOut {
			continue
		}
		typed := string(r.Stdout)
		if len(typed) >= maxHistory {
			typed = typed[len(typed)-maxHistory:]
			_, typed, _ = strings.Cut(typed, "\n")
		}
		s.mu.Lock()
		if s.rec.History == nil {
			s.rec.History = map[topo.NodeID]string{}
		}
		s.rec.History[m] = strings.ToValidUTF8(typed, "\uFFFD")
		s.mu.Unlock()
	}
}

// plantHistory gives a world's machine what was typed at its shells in the world
// before, as its first shell is about to start.
func (s *Session) plantHistory(ctx context.Context, w host.World, node topo.NodeID) {
	s.mu.Lock()
	m := topo.NodeID(node.Machine())
	typed := s.rec.History[m]
	first := s.world == w && !s.shells[m]
	if first {
		s.shells[m] = true
	}
	s.mu.Unlock()
	if first && typed != "" {
		_, _ = w.Exec(ctx, host.ExecRequest{Node: m, Timeout: historyTimeout, Stdin: []byte(typed),
			Argv: []string{"sh", "-c", "umask 077 && cat >~/.bash_history"}}) // a shell without it is one nevertheless
	}
}
