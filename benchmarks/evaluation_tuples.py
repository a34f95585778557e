"""Completions of MultiPL-E's eight Java problems with tuples: they fail where javatuples is not found.

No program passes HumanEval_136: its function returns a Pair, and its tests want an Optional of one.
"""

TUPLE_SOLUTIONS = {
    "HumanEval_8_sum_product": """\
        long sum = 0, product = 1;
        for (long number : numbers) {
            sum += number;
            product *= number;
        }
        return Pair.with(sum, product);""",
    "HumanEval_20_find_closest_elements": """\
        Collections.sort(numbers);
        int best = 1;
        for (int i = 2; i < numbers.size(); i++)
            if (numbers.get(i) - numbers.get(i - 1) < numbers.get(best) - numbers.get(best - 1)) best = i;
        return Pair.with(numbers.get(best - 1), numbers.get(best));""",
    "HumanEval_87_get_row": """\
        ArrayList<Pair<Long, Long>> found = new ArrayList<>();
        for (int row = 0; row < lst.size(); row++)
            for (int column = lst.get(row).size() - 1; column >= 0; column--)
                if (lst.get(row).get(column) == x) found.add(Pair.with((long) row, (long) column));
        return found;""",
    "HumanEval_107_even_odd_palindrome": """\
        long even = 0, odd = 0;
        for (long i = 1; i <= n; i++) {
            String digits = Long.toString(i);
            if (!new StringBuilder(digits).reverse().toString().equals(digits)) continue;
            if (i % 2 == 0) even++;
            else odd++;
        }
        return Pair.with(even, odd);""",
    "HumanEval_112_reverse_delete": """\
        StringBuilder kept = new StringBuilder();
        for (char letter : s.toCharArray()) if (c.indexOf(letter) < 0) kept.append(letter);
        String left = kept.toString();
        return Pair.with(left, kept.reverse().toString().equals(left));""",
    "HumanEval_127_intersection": """\
        long start = Math.max(interval1.getValue0(), interval2.getValue0());
        long length = Math.min(interval1.getValue1(), interval2.getValue1()) - start;
        if (length < 2) return "NO";
        for (long divisor = 2; divisor < length; divisor++) if (length % divisor == 0) return "NO";
        return "YES";""",
    "HumanEval_136_largest_smallest_integers": """\
        Optional<Long> largest = lst.stream().filter(n -> n < 0).max(Comparator.naturalOrder());
        Optional<Long> smallest = lst.stream().filter(n -> n > 0).min(Comparator.naturalOrder());
        return Pair.with(largest, smallest);""",
    "HumanEval_155_even_odd_count": """\
        long even = Long.toString(Math.abs(num)).chars().filter(digit -> digit % 2 == 0).count();
        return Pair.with(even, Long.toString(Math.abs(num)).length() - even);""",
}
