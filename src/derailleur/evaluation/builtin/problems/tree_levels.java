public static long treeLevels(ArrayList<Long> parents) {
    long levels = 0;
    for (int leaf = 0; leaf < parents.size(); leaf++) {
        long level = 0;
        long node = leaf;
        while (node != -1) {
            node = parents.get((int) node);
            level++;
        }
        levels = Math.max(levels, level);
    }
    return levels;
}
