package filter_test

import (
	"errors"
	"fmt"

	"kabel/server/packet/filter"
)

// ping is an ICMP echo request, from 10.0.0.1 to 10.0.0.2 in an Ethernet frame.
var ping = []byte{
	2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa, 0x08, 0x00,
	0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
	8, 0, 0, 0, 0, 1, 0, 1,
}

func Example() {
	for _, expression := range []string{
		"icmp",
		"host 10.0.0.1 and icmp",
		"src net 10.0.0.0/24 and not tcp",
		"icmp[icmptype] == icmp-echo and ip[8] = 64",
		"ether src 02:00:00:00:00:0a and outbound",
		"tcp port 80 or 443",
		"vlan 10 and icmp",
		"dst host 10.0.0.1 or 10.0.0.3",
	} {
		f, err := filter.Compile(expression)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(f.Match(ping, 1, true, len(ping)), "\t", expression)
	}
	// Output:
	// true 	 icmp
	// true 	 host 10.0.0.1 and icmp
	// true 	 src net 10.0.0.0/24 and not tcp
	// true 	 icmp[icmptype] == icmp-echo and ip[8] = 64
	// true 	 ether src 02:00:00:00:00:0a and outbound
	// false 	 tcp port 80 or 443
	// false 	 vlan 10 and icmp
	// false 	 dst host 10.0.0.1 or 10.0.0.3
}

func ExampleError() {
	for _, expression := range []string{
		"tcp and prot 80",
		"host 10.0.0.0/8",
		"icmp & arp",
		"host web1",
	} {
		_, err := filter.Compile(expression)
		var e *filter.Error
		if errors.As(err, &e) {
			fmt.Printf("%s\n%*s %s", expression, e.Position+1, "^", e.Message)
			if e.Suggestion != "" {
				fmt.Printf("; did you mean %q?", e.Suggestion)
			}
			fmt.Println()
		}
	}
	// Output:
	// tcp and prot 80
	//         ^ "prot" is not a word of the filter language; did you mean "port"?
	// host 10.0.0.0/8
	//              ^ a host has no prefix length; did you mean "net 10.0.0.0/8"?
	// icmp & arp
	//      ^ "&" combines numbers; conditions are combined with "and"; did you mean "and"?
	// host web1
	//      ^ "web1" is not an address, and names are not looked up
}
