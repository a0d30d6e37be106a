package host

import (
	"cmp"

	"kabel/sandbox/topo"
)

// Valid says whether the id can name a world.
func (id WorldID) Valid() bool { return topo.ValidNetnsName(string(id)) }

// Validate finds what makes a spec impossible on any host: bad or doubled names,
// wires and setup on machines that are not there. Its errors have CodeInvalid.
func (s Spec) Validate() error {
	if !s.ID.Valid() {
		return Errorf(CodeInvalid, "%q can't name a world", s.ID)
	}
	if len(s.Machines) == 0 {
		return Errorf(CodeInvalid, "world %s has no machine", s.ID)
	}
	machines := map[string]bool{}
	for _, m := range s.Machines {
		id := topo.NodeID(m.Name)
		switch {
		case !id.Valid() || id.Netns() != "":
			return Errorf(CodeInvalid, "%q can't name a machine", m.Name)
		case machines[m.Name]:
			return Errorf(CodeInvalid, "two machines are called %s", m.Name)
		}
		switch m.Kind {
		case topo.KindHost, topo.KindSwitch, topo.KindRouter, topo.KindInternet, topo.KindLaptop:
		default:
			return Errorf(CodeInvalid, "machine %s has the unknown kind %q", m.Name, m.Kind)
		}
		machines[m.Name] = true
	}
	ends := map[topo.LinkID]bool{}
	for _, w := range s.Wires {
		for _, end := range []topo.LinkID{w.A, w.B} {
			node, name := end.Split()
			switch {
			case !machines[string(node)]:
				return Errorf(CodeInvalid, "wire %s-%s: there is no machine %q", w.A, w.B, node)
			case !topo.ValidLinkName(name) || name == "lo":
				return Errorf(CodeInvalid, "wire %s-%s: %q can't name an interface", w.A, w.B, name)
			case ends[end]:
				return Errorf(CodeInvalid, "two wires end in %s", end)
			}
			ends[end] = true
		}
	}
	return validateOps(s.Setup, machines)
}

// validateOps refuses ops that no world with these machines can even try; the
// namespaces of a machine come and go and are judged when the op's turn comes.
func validateOps(ops []topo.Placed, machines map[string]bool) error {
	for i, p := range ops {
		switch {
		case p.Op == nil:
			return Errorf(CodeInvalid, "op %d is missing", i)
		case !p.Node.Valid():
			return Errorf(CodeInvalid, "op %d: %q can't name a node", i, p.Node)
		case !machines[p.Node.Machine()]:
			return Errorf(CodeInvalid, "op %d: there is no machine %q", i, p.Node.Machine())
		}
		if run, ok := p.Op.(topo.Run); ok && (len(run.Argv) == 0 || run.Argv[0] == "") {
			return Errorf(CodeInvalid, "op %d: there is no program to run", i)
		}
	}
	return nil
}

// Normal is the request with its defaults filled in, or an error of CodeInvalid.
func (r ExecRequest) Normal() (ExecRequest, error) {
	if len(r.Argv) == 0 || r.Argv[0] == "" {
		return r, Errorf(CodeInvalid, "there is no program to run")
	}
	if r.Timeout < 0 || r.Timeout > MaxExecTimeout {
		return r, Errorf(CodeInvalid, "a timeout of %v is not between 0 and %v", r.Timeout, MaxExecTimeout)
	}
	r.Timeout = cmp.Or(r.Timeout, DefaultExecTimeout)
	return r, nil
}
