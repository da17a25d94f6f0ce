package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dtc-project/dtc/cmd/dtc/internal/config"
	"github.com/dtc-project/dtc/cmd/dtc/internal/database"
)

// doctorDatabase bounds the look at one database.
const doctorDatabase = 10 * time.Second

// databases looks at each participant that is a database, with the account that serve
// would use, from here. One that was named on the command line for that, as NAME=URL, and
// is none is told.
func (e *examination) databases(ctx context.Context, c *config.Config, named []string) {
	for _, id := range c.IDs() {
		switch p := c.Participants[id]; {
		case p.Database() != "":
			e.database(ctx, id, p)
		case slices.ContainsFunc(named, func(s string) bool { return strings.HasPrefix(s, id+"=") }):
			e.add(levelBad, "participant", "'dtc conformance' tries a service, and a server that runs says whether it answers: dtc doctor --server URL",
				"%s is no database, and was not looked at", id)
		}
	}
}

func (e *examination) database(ctx context.Context, id string, p config.Participant) {
	ctx, cancel := context.WithTimeout(ctx, doctorDatabase)
	defer cancel()
	name := fmt.Sprintf("%s at %s", id, p.Address())
	found, err := database.Look(ctx, p.Source())
	if err != nil {
		e.add(levelBad, "database", "see whether it runs, and can be reached from here with this account", "%s: %v", name, err)
		return
	}
	for _, f := range found {
		level := levelWarn
		if f.Bad {
			level = levelBad
		}
		e.add(level, "database", f.Advice, "%s: %s", name, f.What)
	}
	if len(found) == 0 {
		e.add(levelOK, "database", "", "%s can take part in transactions", name)
	}
}
