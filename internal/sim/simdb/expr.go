package simdb

import (
	"bytes"
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// expr computes a value: an int64, a string, []byte, a bool, or nil.
type expr func(e *env) (any, error)

// env is what an expression may look at.
type env struct {
	table  *table
	values []any // of the row; nil outside one
	args   []any
}

// or parses a condition.
func (p *parser) or() expr {
	left := p.and()
	for p.accept("or") {
		left = logical(left, p.and(), true)
	}
	return left
}

func (p *parser) and() expr {
	left := p.comparison()
	for p.accept("and") {
		left = logical(left, p.comparison(), false)
	}
	return left
}

// logical is OR if decisive is true, AND if it is false. NULL counts as false,
// which is right where nothing negates it.
func logical(left, right expr, decisive bool) expr {
	return func(e *env) (any, error) {
		for _, side := range []expr{left, right} {
			v, err := truth(side, e)
			if err != nil || v == decisive {
				return v, err
			}
		}
		return !decisive, nil
	}
}

func truth(x expr, e *env) (bool, error) {
	v, err := x(e)
	if err != nil || v == nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, &Error{"42804", fmt.Sprintf("%T where a condition is wanted", v)}
	}
	return b, nil
}

func (p *parser) comparison() expr {
	if p.accept("(") {
		inner := p.or()
		p.expect(")")
		return inner
	}
	left := p.sum()
	if p.accept("in (") {
		equal := func(c int) bool { return c == 0 }
		found := compare(left, p.sum(), equal)
		for p.accept(",") {
			found = logical(found, compare(left, p.sum(), equal), true)
		}
		p.expect(")")
		return found
	}
	for _, op := range []struct {
		sign  string
		holds func(c int) bool
	}{
		{"=", func(c int) bool { return c == 0 }},
		{"<>", func(c int) bool { return c != 0 }},
		{"<=", func(c int) bool { return c <= 0 }},
		{">=", func(c int) bool { return c >= 0 }},
		{"<", func(c int) bool { return c < 0 }},
		{">", func(c int) bool { return c > 0 }},
	} {
		if p.accept(op.sign) {
			return compare(left, p.sum(), op.holds)
		}
	}
	p.fail("want a comparison")
	return nil
}

// compare is NULL if a side is.
func compare(left, right expr, holds func(int) bool) expr {
	return func(e *env) (any, error) {
		l, err := left(e)
		if err != nil {
			return nil, err
		}
		r, err := right(e)
		if err != nil || l == nil || r == nil {
			return nil, err
		}
		c, err := order(l, r)
		return holds(c), err
	}
}

// order compares two values of one type.
func order(l, r any) (int, error) {
	switch l := l.(type) {
	case int64:
		if r, ok := r.(int64); ok {
			return cmp.Compare(l, r), nil
		}
	case string:
		if r, ok := r.(string); ok {
			return strings.Compare(l, r), nil
		}
	case []byte:
		if r, ok := r.([]byte); ok {
			return bytes.Compare(l, r), nil
		}
	}
	return 0, &Error{"42883", fmt.Sprintf("%T cannot be compared with %T", l, r)}
}

// sum parses a value, to which others may be added.
func (p *parser) sum() expr {
	left := p.operand()
	for {
		switch {
		case p.accept("+"):
			left = plus(left, p.operand(), 1)
		case p.accept("-"):
			left = plus(left, p.operand(), -1)
		default:
			return left
		}
	}
}

func plus(left, right expr, sign int64) expr {
	return func(e *env) (any, error) {
		l, err := left(e)
		if err != nil {
			return nil, err
		}
		r, err := right(e)
		if err != nil || l == nil || r == nil {
			return nil, err
		}
		a, ok1 := l.(int64)
		b, ok2 := r.(int64)
		if !ok1 || !ok2 {
			return nil, &Error{"42883", fmt.Sprintf("%T and %T cannot be added", l, r)}
		}
		return a + sign*b, nil
	}
}

func (p *parser) operand() expr {
	switch t := p.peek(); t.kind {
	case tokenNumber:
		return constant(p.integer())
	case tokenString:
		p.at++
		return constant(t.text)
	case tokenParam:
		return p.param()
	case tokenWord:
		if p.accept("null") {
			return constant(nil)
		}
		name := p.name()
		return func(e *env) (any, error) {
			i, err := e.table.index(name)
			if err != nil {
				return nil, err
			}
			if e.values == nil {
				return nil, &Error{"42703", "no row to take column " + name + " from"}
			}
			return e.values[i], nil
		}
	case tokenSign, tokenEnd:
	}
	p.fail("want a value")
	return nil
}

func constant(v any) expr { return func(*env) (any, error) { return v, nil } }

func (p *parser) param() expr {
	t := p.next(tokenParam)
	p.asked++
	n := p.asked
	if t.text != "" {
		var err error
		if n, err = strconv.Atoi(t.text); err != nil || n < 1 {
			p.fail("a placeholder without a number")
		}
	}
	return func(e *env) (any, error) {
		if n > len(e.args) {
			return nil, &Error{"08P01", fmt.Sprintf("no argument for $%d", n)}
		}
		return e.args[n-1], nil
	}
}
