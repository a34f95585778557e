public static Pair<Long, Long> shareSweets(ArrayList<Long> bags, long children) {
    long sweets = 0;
    for (long bag : bags) {
        sweets += bag;
    }
    if (children == 0) {
        return Pair.with(0L, sweets);
    }
    return Pair.with(sweets / children, sweets % children);
}
