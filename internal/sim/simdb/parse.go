package simdb

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// statement is a parsed statement; which fields say something depends on verb.
type statement struct {
	verb     verb
	text     string // what Step is told
	table    string
	columns  []string // of INSERT, UPDATE's SET and SELECT
	values   []expr
	ignore   bool // ON CONFLICT DO NOTHING, or IF NOT EXISTS
	count    bool // SELECT count(*)
	where    expr // nil: all
	order    []string
	limit    expr
	declared *table
}

type verb uint8

const (
	verbInsert verb = iota
	verbUpdate
	verbDelete
	verbSelect
	verbProbe
	verbCreateTable
	verbCreateIndex
)

var (
	cacheMu sync.Mutex
	cache   = map[string]*statement{}
)

// parsed parses a statement, or remembers it.
func parsed(query string) (*statement, error) {
	cacheMu.Lock()
	defer cacheMu.Unlock()
	if s := cache[query]; s != nil {
		return s, nil
	}
	s, err := parse(query)
	if err == nil {
		cache[query] = s
	}
	return s, err
}

// parse is strict: what it does not know word by word is an error, so that a new
// statement of the guard's is not executed as something else.
func parse(query string) (s *statement, err error) {
	p := &parser{tokens: tokenize(query), s: &statement{}}
	defer func() {
		if e := recover(); e != nil {
			what, ok := e.(syntax)
			if !ok {
				panic(e)
			}
			s, err = nil, &Error{"42601", fmt.Sprintf("unknown statement: %s, in %q", string(what), query)}
		}
	}()
	p.statement()
	p.accept(";")
	if p.at < len(p.tokens) {
		p.fail("it goes on after its end")
	}
	p.s.text = strings.TrimSpace(strings.ToLower(p.tokens[0].text) + " " + p.s.table)
	return p.s, nil
}

// statementsOf splits a script.
func statementsOf(script string) []string {
	var all []string
	for part := range strings.SplitSeq(script, ";\n") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

type parser struct {
	tokens []token
	at     int
	asked  int // placeholders without a number so far
	s      *statement
}

type syntax string

func (p *parser) fail(why string) {
	panic(syntax(fmt.Sprintf("%s at word %d, %q", why, p.at+1, p.peek().text)))
}

// statement parses one, into p.s.
func (p *parser) statement() {
	s := p.s
	switch {
	case p.accept("insert into"):
		s.verb, s.table = verbInsert, p.name()
		p.expect("(")
		s.columns = p.names()
		p.expect(") values (")
		for s.values = append(s.values, p.sum()); p.accept(","); {
			s.values = append(s.values, p.sum())
		}
		p.expect(")")
		s.ignore = p.accept("on conflict do nothing")
		if len(s.values) != len(s.columns) {
			p.fail("another number of values than columns")
		}
	case p.accept("update"):
		s.verb, s.table = verbUpdate, p.name()
		p.expect("set")
		for more := true; more; more = p.accept(",") {
			s.columns = append(s.columns, p.name())
			p.expect("=")
			s.values = append(s.values, p.sum())
		}
		p.where()
	case p.accept("delete from"):
		s.verb, s.table = verbDelete, p.name()
		p.where()
	case p.accept("select current_setting ( 'server_version_num' ) : : int , current_setting ( 'fsync' ) , " +
		"current_setting ( 'synchronous_commit' ) , pg_is_in_recovery ( )"):
		s.verb = verbProbe
	case p.accept("select"):
		s.verb = verbSelect
		if s.count = p.accept("count ( * )"); !s.count {
			s.columns = p.names()
		}
		p.expect("from")
		s.table = p.name()
		p.where()
		if p.accept("order by") {
			s.order = p.names()
		}
		if p.accept("limit") {
			s.limit = p.sum()
		}
	case p.accept("create table"):
		s.verb, s.ignore, s.table = verbCreateTable, p.accept("if not exists"), p.name()
		s.declared = p.declaration(s.table)
	case p.accept("create index"):
		s.verb, s.ignore = verbCreateIndex, p.accept("if not exists")
		p.name()
		p.expect("on")
		s.table = p.name()
		p.expect("(")
		s.columns = p.names()
		p.expect(")")
	default:
		p.fail("nothing known")
	}
}

func (p *parser) where() {
	if p.accept("where") {
		p.s.where = p.or()
	}
}

// declaration parses the columns of a table.
func (p *parser) declaration(name string) *table {
	tab := &table{name: name}
	p.expect("(")
	for more := true; more; more = p.accept(",") {
		if p.accept("primary key (") {
			for _, c := range p.names() {
				i, err := tab.index(c)
				if err != nil {
					p.fail(err.Error())
				}
				tab.columns[i].notNull = true
				tab.key = append(tab.key, i)
			}
			p.expect(")")
			continue
		}
		tab.columns = append(tab.columns, p.column())
		if p.accept("primary key") {
			i := len(tab.columns) - 1
			tab.columns[i].notNull, tab.key = true, []int{i}
		}
	}
	p.expect(")")
	return tab
}

func (p *parser) column() column {
	c := column{name: p.name()}
	switch {
	case p.accept("text"):
	case p.accept("varchar ("):
		c.max = int(p.integer())
		p.expect(")")
	case p.accept("bigint"), p.accept("integer"):
		c.kind = kindInt
	case p.accept("bytea"):
		c.kind = kindBytes
	default:
		p.fail("an unknown type")
	}
	p.accept(`collate "c"`) // texts are compared byte by byte anyway
	c.notNull = p.accept("not null")
	if p.accept("check ( " + c.name + " in (") {
		for more := true; more; more = p.accept(",") {
			c.in = append(c.in, p.next(tokenString).text)
		}
		p.expect(") )")
	}
	return c
}

func (p *parser) names() []string {
	all := []string{p.name()}
	for p.accept(",") {
		all = append(all, p.name())
	}
	return all
}

func (p *parser) name() string { return strings.ToLower(p.next(tokenWord).text) }

func (p *parser) integer() int64 {
	n, err := strconv.ParseInt(p.next(tokenNumber).text, 10, 64)
	if err != nil {
		p.fail("a number too large")
	}
	return n
}

func (p *parser) next(kind tokenKind) token {
	t := p.peek()
	if t.kind != kind {
		p.fail("something else than expected")
	}
	p.at++
	return t
}

func (p *parser) peek() token {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return token{kind: tokenEnd, text: "the end"}
}

// accept goes on if the next words are these, which are separated by single spaces.
func (p *parser) accept(words string) bool {
	at := p.at
	for word := range strings.SplitSeq(words, " ") {
		if at >= len(p.tokens) || p.tokens[at].plain() != word {
			return false
		}
		at++
	}
	p.at = at
	return true
}

func (p *parser) expect(words string) {
	if !p.accept(words) {
		p.fail("want " + words)
	}
}
