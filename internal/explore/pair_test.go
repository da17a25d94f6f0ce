package explore

import "testing"

func TestPairs(t *testing.T) {
	for _, r := range []PairRules{
		{At: [2]uint8{1, 1}, Crashes: 1},
		{At: [2]uint8{1, 1}, Crashes: 2},
		{At: [2]uint8{1, 1}, Crashes: 1, SameID: true},
		{At: [2]uint8{1, 1}, Crashes: 2, SameID: true},
		{At: [2]uint8{2, 2}, Crashes: 1, SameID: true},
		{At: [2]uint8{1, 1}, Crashes: 2, Restores: 1},
		{At: [2]uint8{1, 1}, Crashes: 1, Restores: 1, NoHold: true},
		{At: [2]uint8{2, 1}, Crashes: 1, Restores: 1, NoHold: true,only:"I1"},
		{At: [2]uint8{2, 1}, Crashes: 1},
		{At: [2]uint8{2, 1}, Crashes: 1, Restores: 1},
	} {
		res := ExplorePair(&r, 3_000_000)
		t.Log(res)
		if res.Violated != "" {
			t.Error(res.Story())
		}
	}
}
