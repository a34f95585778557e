public static ArrayList<Long> payWithNotes(long amount, ArrayList<Long> notes) {
    ArrayList<Long> paid = new ArrayList<>();
    ArrayList<Long> sorted = new ArrayList<>(notes);
    sorted.sort(Comparator.reverseOrder());
    for (long note : sorted) {
        while (note <= amount) {
            paid.add(note);
            amount -= note;
        }
    }
    return paid;
}
