package labs

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// FreePlay is the id of the lab without steps, which is in no catalogue: its
// machines are those that the learner chooses.
const FreePlay = "free-play"

// MaxFreeHosts is how many hosts a learner may choose.
const MaxFreeHosts = 6

// The ways to join the hosts of free play.
const (
	JoinSwitch = "switch" // all in one network
	JoinRouter = "router" // each in a network of its own
)

// Free is a choice of machines.
type Free struct {
	Hosts    int
	Join     string
	Internet bool
	Laptop   bool
}

// Variant is the choice as a short word, "3-router-internet-laptop".
func (f Free) Variant() string {
	s := strconv.Itoa(f.Hosts) + "-" + f.Join
	if f.Internet {
		s += "-internet"
	}
	if f.Laptop {
		s += "-laptop"
	}
	return s
}

// ParseFree reads what Variant writes, and nothing else. No word at all is two
// hosts at a switch.
func ParseFree(variant string) (Free, error) {
	if variant == "" {
		return Free{Hosts: 2, Join: JoinSwitch}, nil
	}
	words := strings.Split(variant, "-")
	f := Free{Internet: slices.Contains(words, "internet"), Laptop: slices.Contains(words, "laptop")}
	if len(words) > 1 {
		f.Hosts, _ = strconv.Atoi(words[0])
		f.Join = words[1]
	}
	if f.Hosts < 1 || f.Hosts > MaxFreeHosts || f.Join != JoinSwitch && f.Join != JoinRouter || f.Variant() != variant {
		return Free{}, fmt.Errorf("free play has no variant %q: one is 3-router-internet-laptop", variant)
	}
	return f, nil
}

// Plan makes the lab and the plan of a choice.
func (f Free) Plan() (*Lab, *Plan, error) {
	raw := f.file()
	src := &source{loader: &loader{writer: newWriter(nil)}, file: FreePlay, raw: raw}
	plan, problems := src.plan("", substitution{})
	sub, err := fs.Sub(apart, "apart")
	if err != nil {
		return nil, nil, fmt.Errorf("free play: %w", err)
	}
	texts, _, bad := src.loader.texts(sub, FreePlay, raw)
	src.texts = texts
	if err := errors.Join(append(problems, bad...)...); err != nil {
		return nil, nil, err
	}
	plan.Variant = f.Variant()
	return &Lab{ID: FreePlay, plans: map[string]*Plan{plan.Variant: plan}}, plan, nil
}

// file is the lab as an author would write it. Addresses are like those of the
// four models: 10.0.0.10, 10.0.0.20 and so on, with 10.0.0.1 as the gateway;
// where a router joins the hosts, the third number counts their networks. The
// internet knows the way back to all of these, but not to a container's.
func (f Free) file() *labFile {
	raw := &labFile{ID: spot{Text: FreePlay}}
	var r1 []linkFile
	port := func(gateway string) string {
		name := "eth" + strconv.Itoa(len(r1))
		r1 = append(r1, linkFile{Name: spot{Text: name}, Addresses: []spot{{Text: gateway}}})
		return "r1:" + name
	}
	routed := f.Join == JoinRouter || f.Internet || f.Laptop
	shared := ""
	if f.Join == JoinSwitch && f.Hosts > 1 {
		shared = "sw"
	}
	for i := range f.Hosts {
		network := 0
		if f.Join == JoinRouter {
			network = i
		}
		m := machineFile{Name: spot{Text: "host" + strconv.Itoa(i+1)}, Kind: "host"}
		gateway := fmt.Sprintf("10.0.%d.1", network)
		to := shared
		if to == "" && routed {
			to = port(gateway + "/24")
		}
		if to != "" {
			m.Links = []linkFile{{Name: spot{Text: "eth0"}, To: spot{Text: to}, Addresses: []spot{{Text: fmt.Sprintf("10.0.%d.%d/24", network, 10*(i+1))}}}}
		}
		if routed {
			m.Routes = []spot{{Text: "default via " + gateway + " dev eth0"}}
		}
		raw.Machines = append(raw.Machines, m)
	}
	if shared != "" {
		raw.Machines = append(raw.Machines, machineFile{Name: spot{Text: shared}, Kind: "switch"})
	}
	if !routed {
		return raw
	}
	if shared != "" {
		port("10.0.0.1/24")
		r1[0].To = spot{Text: shared}
	}
	var outside []machineFile
	router := machineFile{Name: spot{Text: "r1"}, Kind: "router"}
	if f.Internet {
		router.Routes = []spot{{Text: "default via 203.0.113.80"}}
		outside = append(outside, machineFile{Name: spot{Text: "internet"}, Kind: "internet",
			Links:  []linkFile{{Name: spot{Text: "eth0"}, To: spot{Text: port("203.0.113.1/24")}, Addresses: []spot{{Text: "203.0.113.80/24"}, {Text: "8.8.8.8/32"}}}},
			Routes: []spot{{Text: "10.0.0.0/16 via 203.0.113.1 dev eth0"}, {Text: "192.168.1.0/24 via 203.0.113.1 dev eth0"}}})
	}
	if f.Laptop {
		outside = append(outside, machineFile{Name: spot{Text: "laptop"}, Kind: "laptop",
			Links:  []linkFile{{Name: spot{Text: "eth0"}, To: spot{Text: port("192.168.1.1/24")}, Addresses: []spot{{Text: "192.168.1.30/24"}}}},
			Routes: []spot{{Text: "default via 192.168.1.1 dev eth0"}}})
	}
	router.Links = r1
	raw.Machines = append(append(raw.Machines, router), outside...)
	return raw
}
