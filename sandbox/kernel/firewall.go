package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"kabel/sandbox/topo"
)

// firewall is what was read of one namespace's rules.
type firewall struct {
	generation uint32 // of nf_tables; changes with every change of its rules
	legacy     string // names of the legacy tables
	chains     []topo.Chain
}

// tools are the programs that spell rules in words, by name; a missing one is empty.
type tools map[string]string

const (
	nftSave     = "iptables-nft-save"
	nftSave6    = "ip6tables-nft-save"
	legacySave  = "iptables-legacy-save"
	legacySave6 = "ip6tables-legacy-save"
	nftList     = "nft"
)

func findTools(look func(string) (string, error)) tools {
	t := tools{}
	for _, name := range []string{nftSave, nftSave6, legacySave, legacySave6, nftList} {
		if path, err := look(name); err == nil {
			t[name] = path
		} else if path, err := look("/usr/sbin/" + name); err == nil {
			t[name] = path // not on an ordinary user's PATH
		}
	}
	return t
}

func (t tools) missing() []string {
	var out []string
	for _, name := range []string{nftSave, nftSave6, legacySave, legacySave6, nftList} {
		if t[name] == "" {
			out = append(out, name+": rules that are kept there are not shown")
		}
	}
	return out
}

const (
	toolTimeout = 2 * time.Second
	toolOutput  = 1 << 20
)

// run runs a tool in the calling thread's namespace: a child is born in the
// namespace of the thread that forks it.
func (t tools) run(name string, args ...string) (string, error) {
	if t[name] == "" {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, t[name], args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.WaitDelay = toolTimeout
	out := &head{left: toolOutput}
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("run %s: %w", name, err)
	}
	return out.String(), nil
}

// head keeps the first bytes of what is written.
type head struct {
	bytes.Buffer
	left int
}

func (l *head) Write(p []byte) (int, error) {
	kept := p[:min(len(p), l.left)]
	l.left -= len(kept)
	l.Buffer.Write(kept)
	return len(p), nil
}

// readFirewall reads the rules of the calling thread's namespace. A namespace
// without tables costs a few netlink messages; the programs run only where
// rules changed since old. With again, counters are read even if they did not.
// Beside an error it returns what could be read.
func readFirewall(t tools, buf []byte, old firewall, again bool) (firewall, error) {
	now := firewall{chains: []topo.Chain{}}
	c, err := socket(unix.NETLINK_NETFILTER, buf)
	if err == nil {
		defer func() { c.close() }()
		c.limit = tableLimit
		now.generation, err = nftGeneration(c)
	}
	nft := err == nil
	if err != nil && !lacking(err) {
		return now, err
	}
	v4, v6 := legacyTables("ip_tables_names", buf), legacyTables("ip6_tables_names", buf)
	now.legacy = v4 + v6
	if old.chains != nil && now.generation == old.generation && now.legacy == old.legacy {
		if !again {
			return old, nil
		}
		if nft && now.legacy == "" {
			if now.chains, err = nftCounters(c, old.chains); err != nil {
				return old, err
			}
			return now, nil
		}
	}
	var tables []nftTable
	if nft {
		if tables, err = nftTables(c); err != nil {
			return now, err
		}
	}
	if now.chains, err = t.spell(tables, v4 != "", v6 != ""); err != nil {
		now.generation = 0 // try again
	}
	return now, err
}

// spell runs the tools that the namespace of the calling thread needs.
func (t tools) spell(tables []nftTable, legacy4, legacy6 bool) ([]topo.Chain, error) {
	chains := []topo.Chain{}
	var errs []error
	save := func(wanted bool, tool, family, program string) {
		if wanted {
			text, err := t.run(program, "-c")
			chains = append(chains, parseSave(text, tool, family)...)
			errs = append(errs, err)
		}
	}
	kept := func(family string) bool {
		return slices.ContainsFunc(tables, func(n nftTable) bool { return n.iptables() && n.family == family })
	}
	save(kept("ip"), "iptables", "ip", nftSave)
	save(kept("ip6"), "iptables", "ip6", nftSave6)
	save(legacy4, "iptables-legacy", "ip", legacySave)
	save(legacy6, "iptables-legacy", "ip6", legacySave6)
	spoken := map[nftTable]bool{} // by iptables; the other tables are nft's
	for _, chain := range chains {
		if chain.Tool == "iptables" {
			spoken[nftTable{chain.Family, chain.Table}] = true
		}
	}
	if slices.ContainsFunc(tables, func(n nftTable) bool { return !spoken[n] }) {
		text, err := t.run(nftList, "list", "ruleset")
		errs = append(errs, err)
		for _, chain := range parseNft(text) {
			if !spoken[nftTable{chain.Family, chain.Table}] {
				chains = append(chains, chain)
			}
		}
	}
	return chains, errors.Join(errs...)
}

// legacyTables are the tables of the old iptables that the namespace has.
func legacyTables(file string, buf []byte) string {
	text, err := readProc("/proc/thread-self/net/"+file, buf)
	if err != nil {
		return "" // a kernel without it
	}
	return text
}

type nftTable struct{ family, name string }

// iptables says whether the table can be one that iptables-nft keeps.
func (t nftTable) iptables() bool {
	return (t.family == "ip" || t.family == "ip6") && slices.Contains([]string{"filter", "nat", "mangle", "raw", "security"}, t.name)
}

var nftFamilies = map[uint8]string{unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6",
	unix.NFPROTO_ARP: "arp", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_NETDEV: "netdev"}

func nftGeneration(c *conn) (uint32, error) {
	var gen uint32
	_, err := c.exchange(request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0, raw{0, 0, 0, 0}), func(_ uint16, b []byte) error {
		attributes(b[min(len(b), 4):], func(t uint16, v []byte) {
			if t == unix.NFTA_GEN_ID {
				gen = binary.BigEndian.Uint32(v)
			}
		})
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read the generation of nf_tables: %w", err)
	}
	return gen, nil
}

func nftTables(c *conn) ([]nftTable, error) {
	var tables []nftTable
	req := request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETTABLE, 0, raw{0, 0, 0, 0})
	err := c.dump(req, func() { tables = nil }, func(b []byte) {
		if len(b) < 4 {
			return
		}
		attributes(b[4:], func(t uint16, v []byte) {
			if t == unix.NFTA_TABLE_NAME {
				tables = append(tables, nftTable{nftFamilies[b[0]], unix.ByteSliceToString(v)})
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the tables of nf_tables: %w", err)
	}
	return tables, nil
}

type chainKey struct{ family, table, chain string }

type count struct{ packets, bytes uint64 }

// nftCounters is chains with new counters. The rules are the same as when their
// words were read, so the n-th rule of a chain is still the n-th.
func nftCounters(c *conn, chains []topo.Chain) ([]topo.Chain, error) {
	if len(chains) == 0 {
		return chains, nil
	}
	var rules map[chainKey][]count
	var policies map[chainKey]count
	ask := func(message int) *nl.NetlinkRequest {
		return request(unix.NFNL_SUBSYS_NFTABLES<<8|message, 0, raw{0, 0, 0, 0})
	}
	err := c.dump(ask(unix.NFT_MSG_GETRULE), func() { rules = map[chainKey][]count{} }, func(b []byte) {
		key, n := chainKey{}, count{}
		each(b, &key, func(t uint16, v []byte) {
			switch t {
			case unix.NFTA_RULE_TABLE:
				key.table = unix.ByteSliceToString(v)
			case unix.NFTA_RULE_CHAIN:
				key.chain = unix.ByteSliceToString(v)
			case unix.NFTA_RULE_EXPRESSIONS:
				n = ruleCounter(v)
			}
		})
		rules[key] = append(rules[key], n)
	})
	if err != nil {
		return nil, fmt.Errorf("read rule counters: %w", err)
	}
	err = c.dump(ask(unix.NFT_MSG_GETCHAIN), func() { policies = map[chainKey]count{} }, func(b []byte) {
		key, n := chainKey{}, count{}
		each(b, &key, func(t uint16, v []byte) {
			switch t {
			case unix.NFTA_CHAIN_TABLE:
				key.table = unix.ByteSliceToString(v)
			case unix.NFTA_CHAIN_NAME:
				key.chain = unix.ByteSliceToString(v)
			case unix.NFTA_CHAIN_COUNTERS:
				n = counter(v)
			}
		})
		policies[key] = n
	})
	if err != nil {
		return nil, fmt.Errorf("read chain counters: %w", err)
	}
	chains = slices.Clone(chains)
	for i := range chains {
		chain := &chains[i]
		key := chainKey{chain.Family, chain.Table, chain.Name}
		chain.Packets, chain.Bytes = policies[key].packets, policies[key].bytes
		chain.Rules = slices.Clone(chain.Rules)
		for j, n := range rules[key][:min(len(rules[key]), len(chain.Rules))] {
			chain.Rules[j].Packets, chain.Rules[j].Bytes = n.packets, n.bytes
		}
	}
	return chains, nil
}

// each reads the attributes of one nf_tables message and its family.
func each(b []byte, key *chainKey, f func(uint16, []byte)) {
	if len(b) >= 4 {
		key.family = nftFamilies[b[0]]
		attributes(b[4:], f)
	}
}

// ruleCounter finds the first counter among a rule's expressions.
func ruleCounter(expressions []byte) (n count) {
	found := false
	attributes(expressions, func(_ uint16, element []byte) {
		name, data := "", []byte(nil)
		attributes(element, func(t uint16, v []byte) {
			switch t {
			case unix.NFTA_EXPR_NAME:
				name = unix.ByteSliceToString(v)
			case unix.NFTA_EXPR_DATA:
				data = v
			}
		})
		if name == "counter" && !found {
			n, found = counter(data), true
		}
	})
	return n
}

func counter(b []byte) (n count) {
	attributes(b, func(t uint16, v []byte) {
		switch {
		case len(v) != 8:
		case t == unix.NFTA_COUNTER_PACKETS:
			n.packets = binary.BigEndian.Uint64(v)
		case t == unix.NFTA_COUNTER_BYTES:
			n.bytes = binary.BigEndian.Uint64(v)
		}
	})
	return n
}

// parseSave reads what iptables-save -c writes.
func parseSave(text, tool, family string) []topo.Chain {
	var chains []topo.Chain
	first := 0 // chain of the current table
	table := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "*"):
			table, first = line[1:], len(chains)
		case strings.HasPrefix(line, ":"):
			w := strings.Fields(line[1:])
			if len(w) < 3 {
				continue
			}
			c := topo.Chain{Tool: tool, Family: family, Table: table, Name: w[0], Rules: []topo.FirewallRule{}}
			if w[1] != "-" {
				c.Policy = w[1]
			}
			c.Packets, c.Bytes = bracketed(w[2])
			chains = append(chains, c)
		case strings.HasPrefix(line, "["):
			counts, rule, _ := strings.Cut(line, " ")
			w := strings.Fields(rule)
			if len(w) < 2 {
				continue
			}
			if i := slices.IndexFunc(chains[first:], func(c topo.Chain) bool { return c.Name == w[1] }); i >= 0 {
				r := topo.FirewallRule{Text: rule}
				r.Packets, r.Bytes = bracketed(counts)
				chains[first+i].Rules = append(chains[first+i].Rules, r)
			}
		}
	}
	return chains
}

// bracketed reads "[packets:bytes]".
func bracketed(s string) (packets, bytes uint64) {
	p, b, _ := strings.Cut(strings.Trim(s, "[]"), ":")
	packets, _ = strconv.ParseUint(p, 10, 64)
	bytes, _ = strconv.ParseUint(b, 10, 64)
	return packets, bytes
}

var (
	nftCounter = regexp.MustCompile(`\bcounter packets (\d+) bytes (\d+)`)
	nftPolicy  = regexp.MustCompile(`\bpolicy (\w+);`)
)

// parseNft reads what `nft list ruleset` writes: tables, in them chains, in them
// rules; a rule whose braces are open goes on in the next line. Sets, maps and
// other objects are passed over.
func parseNft(text string) []topo.Chain {
	chains := []topo.Chain{}
	var family, table, rule string
	inChain, other := false, 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		w := strings.Fields(line)
		opens := strings.Count(line, "{") - strings.Count(line, "}")
		switch {
		case line == "":
		case other > 0:
			other += opens
		case table == "":
			if len(w) >= 4 && w[0] == "table" {
				family, table = w[1], w[2]
			}
		case inChain && rule != "":
			rule += " " + line
		case inChain && line == "}":
			inChain = false
		case inChain:
			rule = line
		case w[0] == "chain" && len(w) >= 3:
			chains = append(chains, topo.Chain{Tool: "nft", Family: family, Table: table, Name: w[1], Rules: []topo.FirewallRule{}})
			inChain = true
		case line == "}":
			table = ""
		default:
			other = opens
		}
		if rule == "" || strings.Count(rule, "{") != strings.Count(rule, "}") {
			continue
		}
		addNftRule(&chains[len(chains)-1], rule)
		rule = ""
	}
	return chains
}

// addNftRule adds one line of a chain: its type and policy, or a rule.
func addNftRule(c *topo.Chain, line string) {
	if strings.HasPrefix(line, "type ") && strings.Contains(line, " hook ") {
		if m := nftPolicy.FindStringSubmatch(line); m != nil {
			c.Policy = m[1]
		}
		return
	}
	r := topo.FirewallRule{Text: nftCounter.ReplaceAllString(line, "counter")}
	if m := nftCounter.FindStringSubmatch(line); m != nil {
		r.Packets, _ = strconv.ParseUint(m[1], 10, 64)
		r.Bytes, _ = strconv.ParseUint(m[2], 10, 64)
	}
	c.Rules = append(c.Rules, r)
}
