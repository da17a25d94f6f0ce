package logcheck

import "errors"

// verdicts collects what is wrong with the headers.
type verdicts struct {
	files   int
	ours    bool // one of them shows that there is a log
	version error
	first   error
	foreign *NotLog
}

func (v *verdicts) add(foreign bool, err error) {
	v.files++
	v.ours = v.ours || !foreign
	var newer *NewerVersion
	var not *NotLog
	switch {
	case errors.As(err, &newer):
		v.version = cmpOr(v.version, err)
	case errors.As(err, &not):
		if v.foreign == nil {
			v.foreign = not
		}
		err = &Damage{not.File, 0, "the first bytes are overwritten: what stands beside the file shows that it was of a log"}
	}
	v.first = cmpOr(v.first, err)
}

func cmpOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// verdict: whoever does not know the version of one file stops there, whatever
// else is wrong; and a file is foreign only if nothing speaks for a log.
func (v *verdicts) verdict() error {
	switch {
	case v.version != nil:
		return v.version
	case v.foreign != nil && !v.ours:
		return v.foreign
	}
	return v.first
}
