function elevator_distance(floors){
    let distance = 0;
    let floor = 0;
    for (const stop of [...floors, 0]) {
        distance += Math.abs(stop - floor);
        floor = stop;
    }
    return distance;
}
