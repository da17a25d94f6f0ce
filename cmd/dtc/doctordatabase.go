package main

import (
	"context"
	"fmt"
	"time"

	"github.com/dtc-project/dtc/cmd/dtc/internal/config"
	"github.com/dtc-project/dtc/cmd/dtc/internal/database"
)

// doctorDatabase bounds the look at one database.
const doctorDatabase = 10 * time.Second

// databases looks at each participant that is a database, with the account that serve
// would use, from here.
func (e *examination) databases(ctx context.Context, c *config.Config) {
	for _, id := range c.IDs() {
		if p := c.Participants[id]; p.Database() != "" {
			e.database(ctx, id, p)
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
