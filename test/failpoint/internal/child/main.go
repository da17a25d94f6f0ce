// Command child is a process that the tests of package failpoint kill: a coordinator
// embedded in a program, or participants over HTTP. It is built with the tag failpoint,
// and without the race detector: hundreds of it are started.
package main

import (
	"os"

	"github.com/dtc-project/dtc/test/failpoint/internal/node"
)

func main() { os.Exit(node.Main()) }
